"""The large surfaces of the head (skin, skull, dura, cerebrum, cerebellum), evaluated once on a coarse lattice."""

from __future__ import annotations

import torch

from medtrans.simulate.phantom.individual import Individual
from medtrans.simulate.phantom.shapes import Capsule, Ellipsoid, Place, capsule, ellipsoid, smooth_max, smooth_min

PETROUS_RIDGE = Capsule((14, -5, -27), (56, -29, -34), 4.5, 10.5, paired=True)


def large_surfaces(place: Place, individual: Individual) -> dict[str, torch.Tensor]:
    """Signed distances (mm) to the large surfaces.

    Args:
        place: points, with the fields ``thickness`` and ``scalp`` (mean 0, SD 1).
        individual: the measures of the head.

    Returns:
        ``cerebrum``, ``cerebellum``, ``dura`` (inner table of the skull), ``skull`` (outer table) and ``skin``.
    """
    bulk = ellipsoid(place.x, place.y, place.z, (0, -51, -34), (49, 31, 25))
    cerebrum = smooth_max(_cerebrum(place, individual), 2.5 - bulk, 3.0)  # the tentorium parts it from the cerebellum
    cerebellum = smooth_max(bulk, place.z + 8 + 0.10 * place.abs_x, 4.0)
    canal = Capsule((0, -16, -8), (0, -28, -62), 19, 12).distance(place)
    dura = smooth_min(smooth_min(cerebrum, cerebellum, 9.0), canal, 7.0) - individual.subdural - 0.8
    skull = _skull(place, dura, individual)
    skin = _skin(place, skull - individual.scalp_fat * (1 + 0.25 * place["scalp"]) - 2.8)
    return {"cerebrum": cerebrum, "cerebellum": cerebellum, "dura": dura, "skull": skull, "skin": skin}


def _cerebrum(place: Place, individual: Individual) -> torch.Tensor:
    """The hull of the cerebrum: a dome with a flat frontal base over the orbits, and the temporal lobes."""
    y, z = place.y, place.z
    tapered = place.x * (1 + individual.taper * (y / 85).clamp(-1.2, 1.2))
    dome = ellipsoid(tapered, y, z, (0, -4, 20), (67, 84, 58))
    orbital_roof = 9 * torch.exp(-(((place.abs_x - 30) / 15) ** 2)) * torch.sigmoid((y - 34) / 5)
    dome = smooth_max(dome, orbital_roof - z - 15, 10.0)
    return smooth_min(dome, Ellipsoid((42, 2, -19), (23, 42, 22), paired=True).distance(place), 7.0)


def _skull(place: Place, dura: torch.Tensor, individual: Individual) -> torch.Tensor:
    """The outer table: of varying thickness, thin at the temples, thick at the occipital protuberance."""
    y, z = place.y, place.z
    thickness = (individual.skull + 1.1 * place["thickness"]).clamp_(3.2, 12.0)
    temple = torch.exp(-(((z - 2) / 28) ** 2)) * torch.exp(-(((place.abs_x - 66) / 20) ** 2))
    protuberance = torch.exp(-(((y + 84) / 10) ** 2)) * torch.exp(-(((z + 2) / 14) ** 2))
    vault = Ellipsoid((0, -6, 20), (66, 84, 56)).distance(place)
    base = Ellipsoid((30, -30, -20), (38, 50, 34), paired=True).distance(place)
    outer = dura - thickness * (1 - 0.38 * temple) - 3.0 * protuberance
    return torch.minimum(dura - 2.2, smooth_min(outer, smooth_min(vault, base, 12.0) - 1.0, 8.0))


# What is added to (or, where negative, cut from) the scalp, in this order: shape, millimetres of fillet.
FACE_RELIEF: tuple[tuple[str, Ellipsoid | Capsule, float], ...] = (
    ("neck", Capsule((0, -24, -60), (0, -20, -160), 55, 54), 20.0),
    ("brow", Ellipsoid((0, 68, -12), (56, 27, 18)), 12.0),
    ("cut: eye socket", Ellipsoid((34, 98, -34), (15, 12, 9), paired=True), 7.0),
    ("eyelids", Ellipsoid((33, 71, -33), (15, 15, 14.5), paired=True), 3.0),
    ("lips", Capsule((0, 92, -90), (15, 86, -90), 5.5, 3.5, paired=True), 6.0),
)


def _skin(place: Place, scalp: torch.Tensor) -> torch.Tensor:
    """The skin: scalp, face, nose, neck and ears."""
    face = smooth_min(
        Ellipsoid((0, 34, -70), (62, 60, 66)).distance(place),
        Ellipsoid((0, 54, -108), (42, 44, 42)).distance(place),
        20.0,
    )
    cheek_bones = Ellipsoid((42, 56, -52), (24, 26, 24), paired=True)
    head = smooth_min(scalp, smooth_min(face, cheek_bones.distance(place), 12.0), 20.0)
    for name, part, fillet in FACE_RELIEF:
        distance = part.distance(place)
        head = smooth_max(head, -distance, fillet) if name.startswith("cut:") else smooth_min(head, distance, fillet)
    bridge, wings = Capsule((0, 88, -34), (0, 106, -62), 5, 10), Capsule((7, 96, -64), (9, 92, -66), 6, 6, paired=True)
    head = smooth_min(head, (bridge | wings).blended(6.0).distance(place), 7.0)
    return smooth_min(head, _ears(place), 3.0)


def _ears(place: Place) -> torch.Tensor:
    """Shells that stand off the head a little, hollow on the outside."""
    x = place.abs_x - 0.25 * place.y
    shell = ellipsoid(x, place.y, place.z, (84, -18, -22), (5, 15, 29))
    return torch.maximum(shell, -ellipsoid(x, place.y, place.z, (88, -16, -22), (4, 9, 20)))


def petrous_ridge(place: Place) -> torch.Tensor:
    """Distance to the petrous bone, which juts into the skull between cerebrum and cerebellum."""
    ridge = PETROUS_RIDGE
    return capsule(place.abs_x, place.y, place.z, ridge.start, ridge.end, ridge.radius, ridge.end_radius)
