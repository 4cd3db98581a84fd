"""The one grid of a case: RAS axes, exact spacing, centred on the reference, as long as the modalities overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medtrans.cohorts.volumes import Volume, moved, world_corners
from medtrans.errors import InputError

AXES = ("left-right", "back-front", "foot-head")


@dataclass(frozen=True)
class Grid:
    """A grid along the RAS axes.

    Args:
        shape: voxels along the three axes.
        affine: 4x4, voxel indices -> RAS millimetres; its rotation part is diagonal and positive.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres a step along each of the three axes."""
        return np.diag(self.affine)[:3].copy()


def box(points: np.ndarray) -> np.ndarray:
    """``(2, 3)``: the smallest and largest coordinates of ``(N, 3)`` points."""
    return np.stack([points.min(axis=0), points.max(axis=0)])


def grid_over(bounds: np.ndarray, spacing: Sequence[float]) -> Grid:
    """The smallest grid along the RAS axes that covers ``bounds`` (``(2, 3)``, mm)."""
    steps = np.asarray(spacing, dtype=np.float64)
    shape = np.maximum(np.ceil((bounds[1] - bounds[0]) / steps - 1e-6).astype(int), 1)
    return _grid(bounds.mean(axis=0) - (shape - 1) * steps / 2, steps, shape)


def target_grid(
    reference: Volume,
    bounds: Mapping[str, np.ndarray],
    centre: np.ndarray,
    spacing: Sequence[float],
    size: Sequence[int | None],
) -> Grid:
    """The grid on which every modality of a case is resampled.

    An axis with a size has that many voxels around ``centre``; an axis without one runs over the overlap of
    ``bounds``. Where the reference already lies on RAS axes at the same spacing, the grid is moved by less than half a
    voxel onto its lattice, so that resampling it copies its voxels.

    Args:
        reference: the modality that keeps its place.
        bounds: modality -> ``(2, 3)`` extent in the reference's RAS millimetres.
        centre: ``(3,)`` RAS position of the middle of the grid.
        spacing: millimetres along the three axes.
        size: voxels along the three axes; None keeps the extent.

    Raises:
        InputError: the modalities do not overlap.
    """
    steps = np.asarray(spacing, dtype=np.float64)
    lower = np.max([extent[0] for extent in bounds.values()], axis=0)
    upper = np.min([extent[1] for extent in bounds.values()], axis=0)
    for axis in np.flatnonzero(upper - lower < steps):
        raise InputError(
            " and ".join(bounds),
            f"do not overlap from {AXES[axis]} ({_extents(bounds, int(axis))})",
            'Choose other series, or set "registration": {"rigid": true} in the recipe',
        )
    shape = np.array(
        [wanted or int(np.floor(n + 1e-3)) for wanted, n in zip(size, (upper - lower) / steps, strict=True)]
    )
    middle = np.where([wanted is None for wanted in size], (lower + upper) / 2, centre)
    start = middle - (shape - 1) * steps / 2
    lattice = _lattice(reference, steps)
    if lattice is not None:
        start = lattice + np.round((start - lattice) / steps) * steps
    return _grid(start, steps, shape)


def _grid(start: np.ndarray, steps: np.ndarray, shape: np.ndarray) -> Grid:
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = start
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _lattice(reference: Volume, steps: np.ndarray) -> np.ndarray | None:
    """Position of the reference's first voxel when its axes are the RAS axes (in any order and sense), else None."""
    turn = np.abs(reference.affine[:3, :3])
    along = turn.max(axis=1)
    error = max(np.abs(along - steps).max(), (turn.sum(axis=1) - along).max())  # mm a voxel
    return reference.affine[:3, 3] if error * max(reference.values.shape) < 0.01 else None


def _extents(bounds: Mapping[str, np.ndarray], axis: int) -> str:
    return ", ".join(f"{name} {extent[0, axis]:.0f} to {extent[1, axis]:.0f} mm" for name, extent in bounds.items())


def extent_in_reference(volume: Volume, rigid: np.ndarray) -> np.ndarray:
    """``(2, 3)`` extent of ``volume`` in the reference's space, ``rigid`` leading from there to ``volume``'s space."""
    return box(moved(volume.corners(), np.linalg.inv(rigid)))


def share_inside(mask: np.ndarray, affine: np.ndarray, grid: Grid, axes: Sequence[int]) -> float:
    """Share of the voxels of ``mask`` that lie inside ``grid`` along ``axes`` (1 for an empty mask)."""
    if not mask.any():
        return 1.0
    bounds = box(world_corners(grid.shape, grid.affine))
    points = moved(np.argwhere(mask).astype(np.float64), affine)
    inside = (points >= bounds[0]) & (points <= bounds[1])
    return float(inside[:, list(axes)].all(axis=1).mean()) if len(axes) else 1.0
