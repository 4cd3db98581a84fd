"""One interpolation from the scanner's own planes to the target grid, with anti-aliasing where the step grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from medtrans.cohorts.grid import Grid
from medtrans.cohorts.volumes import Volume

INTERPOLATIONS = ("linear", "cubic", "nearest")
CUBIC_NEEDS = 4  # voxels along every axis, below which the B-spline prefilter is undefined
Clamp = tuple[float | None, float | None]


def antialias_sigma(affine: np.ndarray, steps: Sequence[float] | np.ndarray) -> np.ndarray:
    """Gaussian sigma in source voxels along each source axis, 0 where the step does not grow.

    ``sigma = 0.5 * sqrt((t / s)^2 - 1)`` for a source step ``s`` and a target step ``t`` along that source axis; for
    an oblique axis ``t`` is the target's step along it.

    Args:
        affine: 4x4 of the source.
        steps: millimetres along the axes of the target, which are the RAS axes.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    along = np.linalg.norm(affine[:3, :3] / spacing * np.asarray(steps)[:, None], axis=0)
    return 0.5 * np.sqrt(np.maximum((along / spacing) ** 2 - 1.0, 0.0))


def resample(
    volume: Volume,
    grid: Grid,
    rigid: np.ndarray | None = None,
    interpolation: str = "linear",
    clamp: Clamp = (None, None),
    background: float = 0.0,
    threads: int = 0,
) -> np.ndarray:
    """``volume`` on ``grid``, interpolated once.

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
    import SimpleITK as sitk  # noqa: N813

    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"the interpolation is one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    to_source = np.linalg.inv(volume.affine) @ (np.eye(4) if rigid is None else rigid)
    filtered = _clamped(volume.values, clamp)
    if interpolation != "nearest":
        filtered = _low_pass(filtered, antialias_sigma(to_affine(to_source), grid.spacing))
    transform = sitk.AffineTransform(to_source[:3, :3].ravel().tolist(), to_source[:3, 3].tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in grid.shape])
    resampler.SetOutputSpacing(grid.spacing.tolist())
    resampler.SetOutputOrigin(grid.affine[:3, 3].tolist())
    resampler.SetTransform(transform)
    resampler.SetInterpolator(_interpolator(interpolation, volume.values.shape))
    resampler.SetDefaultPixelValue(float(background))
    if threads:
        resampler.SetNumberOfThreads(threads)
    image = sitk.GetImageFromArray(np.ascontiguousarray(filtered.transpose(2, 1, 0)))
    values = sitk.GetArrayFromImage(resampler.Execute(image)).transpose(2, 1, 0)
    return _clamped(values, clamp, background)


def to_affine(to_source: np.ndarray) -> np.ndarray:
    """The source's affine in the target's space."""
    return np.linalg.inv(to_source)


def source_range(values: np.ndarray) -> Clamp:
    """The smallest and largest value, the bounds of MR after cubic interpolation."""
    return float(values.min()), float(values.max())


def _interpolator(interpolation: str, shape: Sequence[int]) -> int:
    import SimpleITK as sitk  # noqa: N813

    if interpolation == "nearest":
        return sitk.sitkNearestNeighbor
    return sitk.sitkBSpline if interpolation == "cubic" and min(shape) >= CUBIC_NEEDS else sitk.sitkLinear


def _clamped(values: np.ndarray, clamp: Clamp, background: float | None = None) -> np.ndarray:
    """``values`` within ``clamp``, which is widened to let ``background`` through."""
    lower, upper = clamp
    if background is not None:
        lower = None if lower is None else min(lower, background)
        upper = None if upper is None else max(upper, background)
    return values if lower is None and upper is None else np.clip(values, lower, upper)


def _low_pass(values: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values, sigma, mode="nearest") if sigma.max() > 0 else values
