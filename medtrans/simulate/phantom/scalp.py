"""From the skin to the dura: scalp, muscles, skull with marrow and air cells, cervical spine."""

from __future__ import annotations

import math

import torch

from medtrans.simulate.phantom.canvas import Canvas, Region, Structure
from medtrans.simulate.phantom.individual import Individual
from medtrans.simulate.phantom.shapes import Capsule, Ellipsoid, Implicit, Place, inside
from medtrans.simulate.phantom.surfaces import PETROUS_RIDGE

OUTSIDE_SKULL = Implicit(lambda place: 1.0 - place["skull"])
TEMPORALIS = Ellipsoid((74, 22, -6), (15, 36, 36), paired=True)
FRONTAL_SINUS = Ellipsoid((9, 82, -1), (13, 5.5, 11), paired=True)
MASTOID = Ellipsoid((58, -26, -40), (12, 13, 19), paired=True)
EAR_CANAL = Capsule((86, -17, -29), (56, -18, -28), 2.3, paired=True)
VERTEBRAL_BODY = Capsule((0, -8, -72), (0, -10, -160), 10, 11)
ARTICULAR_PILLAR = Capsule((17, -24, -70), (16, -26, -160), 7, 7, paired=True)
VERTEBRAL_ARCH = Capsule((0, -34, -72), (0, -34, -160), 18) - Capsule((0, -32, -60), (0, -32, -160), 13)
SPINE = (VERTEBRAL_BODY | ARTICULAR_PILLAR).blended(6.0) | VERTEBRAL_ARCH


def outside_dura(by: float) -> Implicit:
    """What is outside the brain case, or at most ``by`` mm within."""
    return Implicit(lambda place: by - place["dura"])


def air_cells(thickness: float, spread: float) -> Implicit:
    """Honeycomb of a pneumatised bone: air where the pore field is away from zero; walls of about ``thickness`` mm."""
    return Implicit(lambda place: thickness - spread * place["pores"].abs())


def scalp(individual: Individual) -> tuple[Structure, ...]:
    """Skin, subcutaneous fat, and the muscles below it with septa of fat."""

    def beneath_fat(place: Place) -> torch.Tensor:
        return place["skin"] + 2.0 + (0.9 * individual.scalp_fat + place["scalp"]).clamp(1.2, 9.0)

    def between_septa(place: Place) -> torch.Tensor:
        return 1.0 - 7.0 * place["fascia"].abs()

    def below_hairline(place: Place) -> torch.Tensor:
        return torch.minimum(place.z + 20 - 0.30 * place.y, TEMPORALIS.distance(place))

    muscles = Implicit(beneath_fat) & OUTSIDE_SKULL & Implicit(between_septa) & Implicit(below_hairline)
    return (
        Structure("skin", "skin", inside("skin")),
        Structure("subcutaneous fat", "fat", inside("skin", 2.0)),
        Structure("muscles", "muscle", muscles),
    )


def _between_discs(place: Place) -> torch.Tensor:
    return 5 * torch.cos((place.z + 24) * (2 * math.pi / 17)) - 3.4


def spine() -> tuple[Structure, ...]:
    """Cervical vertebrae and discs."""
    vertebrae = SPINE & Implicit(_between_discs)
    return (
        Structure("discs", "muscle", SPINE),
        Structure("vertebrae", "cortical bone", vertebrae),
        Structure("marrow of the vertebrae", "bone marrow", SPINE.grown(-1.8) & Implicit(_between_discs).grown(-2.0)),
    )


def _marrow_share(region: Region, canvas: Canvas) -> torch.Tensor:
    return 0.8 + 0.2 * region["pores"].clamp(-1, 1)


def skull() -> tuple[Structure, ...]:
    """Outer and inner table, diploë between, frontal sinus, mastoids, ear canals, dura and the fluid within."""

    def diploe(place: Place) -> torch.Tensor:
        table = 1.6 + 0.25 * place["scalp"]
        return torch.maximum(torch.maximum(place["skull"] + table, table - place["dura"]), -0.35 * (place.z + 30))

    base = inside("skull", 3.0) & outside_dura(2.5) & Implicit(lambda place: place.z + 26)
    sinus_wall = FRONTAL_SINUS.grown(1.5) & outside_dura(1.0) & inside("skin", 3.0)
    dome = ((-math.inf, -math.inf, -40.0), (math.inf, math.inf, math.inf))
    return (
        Structure("tables of the skull", "cortical bone", inside("skull")),
        Structure("diploë", "bone marrow", Implicit(diploe, within=dome), share=_marrow_share),
        Structure("marrow of the skull base", "bone marrow", base, share=0.75),
        Structure("wall of the frontal sinus", "cortical bone", sinus_wall),
        Structure("frontal sinus", "air", FRONTAL_SINUS & outside_dura(2.5) & inside("skin", 4.5)),
        Structure("mastoid", "cortical bone", MASTOID & outside_dura(2.0)),
        Structure("mastoid cells", "air", MASTOID.grown(-2.0) & outside_dura(0.0) & air_cells(0.9, 3.2)),
        Structure("ear canal", "air", EAR_CANAL & outside_dura(1.5)),
        Structure("dura", "dura", inside("dura")),
        Structure("subarachnoid space", "cerebrospinal fluid", inside("dura", 0.9)),
        Structure("petrous bone", "cortical bone", PETROUS_RIDGE),
        Structure("petrous cells", "air", PETROUS_RIDGE.grown(-2.5) & air_cells(0.8, 2.4)),
    )
