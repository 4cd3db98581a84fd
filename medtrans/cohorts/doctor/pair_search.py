"""How two modalities of one case fit: mutual information as they lie, after a small rigid search, and mirrored.

Every way to mirror or turn the second modality along the axes is screened with its body laid on the first one's; the
ones that come near the best are searched as well, so that a flip is judged by its best fit and not by its first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.registration import Coarse, centred, search
from medtrans.cohorts.similarity import mutual_information

BINS = 32
NEAR = 0.75  # a mirrored screening this close to the best is searched
MIRRORS = tuple(axes for count in (1, 2, 3) for axes in itertools.combinations(range(3), count))
NAMES = {
    (0,): "flipped left-right",
    (1,): "flipped front-back",
    (2,): "flipped upside down",
    (0, 1): "turned by 180 degrees about the long axis",
    (0, 2): "turned by 180 degrees about the front-back axis",
    (1, 2): "turned by 180 degrees about the left-right axis",
    (0, 1, 2): "flipped along all three axes",
}


@dataclass(frozen=True)
class PairFit:
    """What was found; mutual information in nats inside the body.

    Args:
        here: as the two lie.
        best: at the best rigid motion found.
        displacement: mm, mean over the body, between the two.
        rotation: degrees, of the motion.
        unrelated: median of the screenings that turn the body upside down or back to front: what two volumes share
            that do not show the same thing in the same place.
        mirrored: mirrored axes -> the best fit found so.
    """

    here: float
    best: float
    displacement: float
    rotation: float
    unrelated: float
    mirrored: Mapping[tuple[int, ...], float]

    @property
    def best_mirror(self) -> tuple[int, ...]:
        """The mirrored axes that fit best."""
        return max(self.mirrored, key=lambda axes: self.mirrored[axes])


def fit_pair(case: CaseVolumes, fixed_name: str, moving_name: str) -> PairFit:
    """Search the fit of one pair on the coarse copies, see the module's first lines."""
    body = case.coarse_body
    fixed, moving = (_smoothed(case.coarse(name)) for name in (fixed_name, moving_name))
    within = ndimage.binary_dilation(body, iterations=2)

    def information(other: Coarse, rigid: np.ndarray) -> float:
        return mutual_information(fixed.values, other.on(fixed.grid, rigid, threads=1), body, BINS)

    def searched(other: Coarse, start: np.ndarray) -> np.ndarray:
        found = search(fixed, other, body, start, (2, 1), BINS, 60, 0.3, 0, within, least_step=0.02)
        return found if information(other, found) > information(other, start) else start

    here = information(moving, np.eye(4))
    rigid = searched(moving, np.eye(4))
    best = information(moving, rigid)
    screened: dict[tuple[int, ...], float] = {}
    for axes in MIRRORS:
        screened[axes] = information(*_mirrored(fixed, moving, body, axes))
    mirrored = dict(screened)
    for axes in MIRRORS:
        if axes == (0,) or screened[axes] > NEAR * best:
            other, start = _mirrored(fixed, moving, body, axes)
            mirrored[axes] = max(screened[axes], information(other, searched(other, start)))
    turned = [value for axes, value in screened.items() if 1 in axes or 2 in axes]
    displacement, rotation = _size(rigid, body, fixed)
    return PairFit(here, best, displacement, rotation, float(np.median(turned)), mirrored)


def _smoothed(coarse: Coarse) -> Coarse:
    """A little smoother, so that the blur of interpolating between voxels does not look like a better fit."""
    return Coarse(ndimage.gaussian_filter(coarse.values, 0.7), coarse.grid, coarse.background)


def _mirrored(fixed: Coarse, moving: Coarse, body: np.ndarray, axes: tuple[int, ...]) -> tuple[Coarse, np.ndarray]:
    """The mirrored volume and the shift that lays its body on the fixed one's."""
    other = Coarse(np.ascontiguousarray(np.flip(moving.values, axes)), moving.grid, moving.background)
    return other, centred(fixed, other, body, np.flip(body, axes))


def _size(rigid: np.ndarray, body: np.ndarray, fixed: Coarse) -> tuple[float, float]:
    """Mean displacement (mm) of the body's voxels by a motion, and its angle in degrees."""
    points = np.argwhere(body)[::7] * fixed.grid.spacing
    if not len(points):
        return 0.0, 0.0
    moved = points @ rigid[:3, :3].T + rigid[:3, 3]
    angle = np.degrees(np.arccos(np.clip((np.trace(rigid[:3, :3]) - 1) / 2, -1, 1)))
    return float(np.linalg.norm(moved - points, axis=1).mean()), float(angle)
