"""Corpus callosum, basal ganglia, ventricles, brainstem and cerebellum."""

from __future__ import annotations

import torch

from medtrans.simulate.phantom.canvas import Structure
from medtrans.simulate.phantom.individual import Individual
from medtrans.simulate.phantom.shapes import Capsule, Ellipsoid, Implicit, Place, Shape, above, ellipsoid
from medtrans.simulate.phantom.surfaces import PETROUS_RIDGE

CEREBELLUM_BOX = ((-54.0, -86.0, -64.0), (54.0, -12.0, 4.0))
MIDBRAIN_AND_PONS = (Capsule((0, -12, 0), (0, -17, -18), 12, 12) | Ellipsoid((0, -15, -27), (17, 13, 14))).blended(6.0)
MEDULLA = Capsule((0, -22, -42), (0, -30, -64), 9, 6.2)
CORD = Capsule((0, -30, -64), (0, -32, -160), 6.2, 5.6)
STEM = ((MIDBRAIN_AND_PONS | MEDULLA).blended(6.0) | CORD).blended(3.0)
STEM_CISTERN = Capsule((0, -12, -20), (0, -30, -64), 16, 13)


def _callosal_arc(place: Place) -> torch.Tensor:
    level = (((place.y + 6) / 36) ** 2 + ((place.z - 4) / 23) ** 2).sqrt()
    return (level - 1).abs() * 27 - 3.8 * (1 - (place.abs_x / 19) ** 2)


def lateral_ventricle(size: float) -> Shape:
    """Frontal horn, body, trigone, occipital and temporal horn of both sides; ``size`` scales the radii."""
    medial, lateral = 4.2 * size + 0.7, 9 * size
    frontal = Capsule((medial, 29, 12), (medial, 4, 20), 4.2 * size, 4.0 * size, paired=True)
    roof = Capsule((lateral, 30, 16), (lateral, 4, 22), 2.6 * size, 2.4 * size, paired=True)  # horns point outwards
    frontal_and_roof = (frontal | roof).blended(3.0)
    body = Capsule((lateral - 1, 4, 21), (13, -30, 20), 3.6 * size, 5.0 * size, paired=True)
    occipital = Capsule((14, -32, 19), (23, -58, 10), 5.0 * size, 2.0 * size, paired=True)
    descending = Capsule((15, -32, 18), (31, -18, -8), 5.0 * size, 2.4 * size, paired=True)
    temporal = Capsule((31, -18, -8), (29, 6, -17), 2.4 * size, 1.8 * size, paired=True)
    upper = ((frontal_and_roof | body).blended(3.0) | occipital).blended(4.0)
    return ((upper | descending).blended(4.0) | temporal).blended(3.0)


def deep_brain(individual: Individual) -> tuple[Structure, ...]:
    """White matter around the ventricles, basal ganglia, the lateral and third ventricles."""
    volume = individual.ventricles
    size = volume**0.5
    off_middle = Implicit(lambda place: 0.7 - place.abs_x)
    callosum = Implicit(_callosal_arc, within=((-24, -52, -4), (24, 40, 36))) & above(0.0)
    third = Ellipsoid((0, -5, 4), (1.0 + 1.3 * (volume - 0.7), 15, 11))
    skewed = Implicit(lambda place: _putamen(place), within=((-44, -18, -12), (44, 26, 22)))
    return (
        Structure("corpus callosum", "white matter", callosum),
        Structure("internal capsule", "white matter", Ellipsoid((20, -2, 6), (15, 26, 16), paired=True)),
        Structure("thalamus", "deep grey matter", Ellipsoid((11, -13, 8.5), (8.5, 14.5, 9), paired=True)),
        Structure(
            "caudate nucleus",
            "deep grey matter",
            Capsule((11.5 + 2.2 * size, 22, 10), (14 + 2 * size, -4, 24), 6.2, 2.6, paired=True),
        ),
        Structure("putamen", "deep grey matter", skewed),
        Structure("hippocampus", "grey matter", Capsule((25, 6, -18), (28, -24, -12), 4.6, 4.0, paired=True)),
        Structure("lateral ventricles", "cerebrospinal fluid", lateral_ventricle(size) & off_middle),
        Structure("third ventricle", "cerebrospinal fluid", third),
    )


def _putamen(place: Place) -> torch.Tensor:
    """An ellipsoid that runs outwards to the back."""
    return ellipsoid(place.abs_x + 0.25 * (place.y - 4), place.y, place.z, (25.5, 4, 5), (6.2, 17, 10))


def hindbrain(individual: Individual) -> tuple[Structure, ...]:
    """Cerebellum with its folia, brainstem, cord and fourth ventricle."""
    size = individual.ventricles**0.5
    hull = Implicit(lambda place: place["cerebellum"] + 1.2, CEREBELLUM_BOX) - STEM_CISTERN - PETROUS_RIDGE.grown(1.5)

    def folia(place: Place) -> torch.Tensor:
        fan = torch.atan2(place.z + 30, place.y + 34)
        return torch.sin(23 * fan + 1.1 * place["scalp"] + 0.02 * place.abs_x).abs()

    def between_folia(place: Place) -> torch.Tensor:
        depth = -hull.distance(place)
        return -torch.minimum(2.7 * folia(place) - 0.22 + (depth - 7).clamp(min=0), depth)

    def branches(place: Place) -> torch.Tensor:
        depth = -hull.distance(place)
        tree = 2.1 - torch.minimum(2.9 * folia(place) + 0.9 * (depth - 7).clamp(min=0), depth - 3.2)
        core = Ellipsoid((16, -45, -36), (14, 12, 9), paired=True).distance(place)
        return torch.minimum(torch.maximum(tree, 2.6 - depth), core)

    return (
        Structure("fluid around the cord", "cerebrospinal fluid", Capsule((0, -29, -55), (0, -32, -160), 10.5)),
        Structure("cerebellar cortex", "cerebellar grey matter", hull & Implicit(between_folia)),
        Structure("arbor vitae", "white matter", hull & Implicit(branches)),
        Structure("white matter of the stem", "white matter", STEM),
        Structure("nuclei of the stem", "brainstem", STEM.grown(-2.0), share=0.6),
        Structure("fourth ventricle", "cerebrospinal fluid", Ellipsoid((0, -33, -32), (8, 4.2 * size, 10))),
        Structure("aqueduct", "cerebrospinal fluid", Capsule((0, -25, -6), (0, -30, -24), 1.4, 2.0)),
        Structure("cerebellar peduncle", "white matter", Capsule((11, -26, -30), (24, -40, -36), 6, 7, paired=True)),
    )
