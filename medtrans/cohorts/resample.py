"""One interpolation from the scanner's own planes to the target grid, rigid motion included."""

from __future__ import annotations

import numpy as np

from medtrans.cohorts.grid import Grid
from medtrans.cohorts.volumes import Volume
from medtrans.transforms.regrid import Bounds, regrid


def resample(
    volume: Volume,
    grid: Grid,
    rigid: np.ndarray | None = None,
    interpolation: str = "linear",
    clamp: Bounds = (None, None),
    background: float = 0.0,
    threads: int = 0,
) -> np.ndarray:
    """``volume`` on ``grid``, interpolated once, as a new scan is at inference (:func:`medtrans.transforms.regrid`).

    The whole chain, target voxel -> millimetres -> rigid motion -> source voxel, is one affine map, so that tilted
    (sheared) and oblique planes need no step in between.

    Args:
        volume: the source, its values in physical units.
        grid: the target.
        rigid: 4x4, RAS millimetres of the target's space -> RAS millimetres of the volume's space; None when both
            are the same.
        interpolation: ``"linear"``, ``"cubic"`` (B-spline of order 3) or ``"nearest"`` (labels, no anti-aliasing).
        clamp: bounds put on the values before the interpolation (scanner padding) and after it (overshoot).
        background: value outside the volume.
        threads: number of threads, 0 for all.

    Returns:
        float32 array of the grid's shape.
    """
    affine = volume.affine if rigid is None else np.linalg.solve(rigid, volume.affine)
    frame = (affine, grid.affine, grid.shape)
    return regrid(volume.values, *frame, interpolation, background, clamp, threads=threads, carry_edge=False)


def source_range(values: np.ndarray) -> Bounds:
    """The smallest and largest value, the bounds of MR after cubic interpolation."""
    return float(values.min()), float(values.max())
