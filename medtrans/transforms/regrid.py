"""A volume on another grid: exact where voxels meet voxels, one interpolation with anti-aliasing otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medtrans.transforms.separable import filter_along_axes, parallel_axes, resample_along_axes

INTERPOLATIONS = ("linear", "cubic", "nearest")
CUBIC_NEEDS = 4  # voxels along every axis, below which a spline's prefilter is undefined
NO_BLUR = 0.23  # voxels: a Gaussian whose neighbours would weigh less than 1e-4
Bounds = tuple[float | None, float | None]


def regrid(
    volume: np.ndarray,
    affine: np.ndarray,
    new_affine: np.ndarray,
    new_shape: Sequence[int],
    interpolation: str = "linear",
    background: float | None = 0.0,
    bounds: Bounds = (None, None),
    antialias: bool = True,
    threads: int = 0,
    carry_edge: bool = True,
) -> np.ndarray:
    """``volume`` on the grid ``new_affine``, ``new_shape``.

    Voxels are boxes: the outer half voxel repeats the edge. Where the grids are oblique to each other, ``carry_edge``
    carries it on for one new voxel more, because a prediction that comes back would otherwise mix background into the
    outermost voxels. Where voxels fall on voxels (flips, transpositions, crops), values are copied.

    Args:
        volume: ``(X, Y, Z)``.
        affine, new_affine: index -> millimetres of the two grids; any invertible matrix, sheared ones too.
        new_shape: voxels of the new grid.
        interpolation: ``"linear"``, ``"cubic"`` (B-spline of order 3; linear for fewer than four voxels) or
            ``"nearest"`` (never smoothed).
        background: value outside the field of view; None takes the smallest value, and carries no edge on.
        bounds: values are cut to these before the interpolation (scanner padding) and after it (overshoot).
        antialias: where the step grows, take away with a Gaussian what the coarser grid cannot hold.
        threads: of the interpolation, 0 for all cores.
        carry_edge: see above; False keeps strictly to the field of view.

    Returns:
        float32 array of ``new_shape``.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"the interpolation is one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    to_old = np.linalg.solve(affine, new_affine)  # index in the new grid -> index in the old
    outside = float(volume.min()) if background is None else float(background)
    values = _cut(np.asarray(volume, dtype=np.float32), bounds)
    moved = _copied_voxels(values, to_old, tuple(new_shape), outside)
    if moved is not None:
        return moved
    sigma = np.zeros(3)
    if antialias and interpolation != "nearest":
        sigma = antialias_sigma(to_old, np.linalg.norm(np.asarray(new_affine)[:3, :3], axis=0))
    if interpolation == "cubic" and min(values.shape) < CUBIC_NEEDS:
        interpolation = "linear"
    axes = parallel_axes(to_old, new_shape)
    if axes is not None and interpolation != "nearest":
        order = 3 if interpolation == "cubic" else 1
        found = resample_along_axes(values, to_old, axes, new_shape, order, sigma, outside, threads)
    else:
        margin = edge_margin(to_old) if carry_edge and background is not None else np.zeros(3, int)
        found = _interpolated(values, to_old, margin, new_shape, outside, interpolation, sigma, threads)
    if _within(outside, bounds):
        return found if bounds == (None, None) else np.clip(found, *bounds, out=found)
    background_voxels = found == np.float32(outside)
    return np.where(background_voxels, found, _cut(found, bounds))


def antialias_sigma(to_old: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Gaussian sigma in old voxels along each old axis, 0 where the step does not grow, or by less than a tenth.

    ``0.5 * sqrt(k^2 - 1)`` for a step that grows ``k``-fold along the axis (after Cardoso et al., MICCAI 2015).

    Args:
        to_old: ``(4, 4)``, index in the new grid -> index in the old.
        steps: millimetres along the new axes.
    """
    along_new = np.linalg.inv(to_old)[:3, :3] * steps[:, None]  # one old step, in millimetres along the new axes
    spacing = np.linalg.norm(along_new, axis=0)
    growth = np.linalg.norm(along_new / spacing * steps[:, None], axis=0) / spacing
    sigma = 0.5 * np.sqrt(np.maximum(growth**2 - 1.0, 0.0))
    return np.where(sigma < NO_BLUR, 0.0, sigma)


def edge_margin(to_old: np.ndarray) -> np.ndarray:
    """How many old voxels the edge is carried on along each old axis: one new step; none where axes are parallel."""
    steps = np.abs(to_old[:3, :3])
    if ((steps > 1e-6).sum(axis=0) == 1).all():
        return np.zeros(3, int)
    return np.ceil(steps.sum(axis=1) - 0.5).clip(0).astype(int)


def _cut(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    return values if bounds == (None, None) else np.clip(values, *bounds)


def _within(value: float, bounds: Bounds) -> bool:
    lower, upper = bounds
    return (lower is None or value >= lower) and (upper is None or value <= upper)


def _copied_voxels(values: np.ndarray, to_old: np.ndarray, shape: tuple[int, ...], outside: float) -> np.ndarray | None:
    """The volume flipped, transposed, cropped and padded, where that is all there is to do; None otherwise."""
    whole = np.rint(to_old[:3]).astype(int)
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    error = np.abs((to_old[:3, :3] - whole[:, :3]) @ corners + (to_old[:3, 3:] - whole[:, 3:]))
    if error.max() > 1e-3 or (np.abs(whole[:, :3]).sum(axis=0) != 1).any():
        return None
    axes = np.argmax(np.abs(whole[:, :3]), axis=0)  # new axis -> old axis
    turned = values.transpose(*axes)
    out = np.full(shape, outside, dtype=np.float32)
    source, target = [], []
    for new, old in enumerate(axes):
        start, length = int(whole[old, 3]), turned.shape[new]
        if whole[old, new] < 0:
            turned, start = np.flip(turned, new), length - 1 - start
        source.append(slice(max(start, 0), max(min(start + shape[new], length), 0)))
        target.append(slice(max(-start, 0), max(min(length - start, shape[new]), 0)))
    piece = turned[tuple(source)]
    if piece.size:
        out[tuple(target)] = piece
    return out


def _interpolated(
    values: np.ndarray,
    to_old: np.ndarray,
    margin: np.ndarray,
    shape: Sequence[int],
    outside: float,
    interpolation: str,
    sigma: np.ndarray,
    threads: int,
) -> np.ndarray:
    """By SimpleITK, the fastest we measured for oblique grids; it works on indices, so that shear is no obstacle."""
    import SimpleITK  # heavy, and only resampling needs it

    by_name = {
        "nearest": SimpleITK.sitkNearestNeighbor,
        "linear": SimpleITK.sitkLinear,
        "cubic": SimpleITK.sitkBSplineResamplerOrder3,  # of coefficients: the prefilter is done by then
    }
    # SimpleITK counts axes backwards: its index (i, j, k) is numpy's [k, j, i]. So the map is turned, not the data.
    padded = np.pad(values, [(int(n), int(n)) for n in margin], mode="edge") if margin.any() else values
    padded = filter_along_axes(padded, sigma, interpolation == "cubic", threads)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(padded))
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(to_old[2::-1, 2::-1].ravel().tolist())
    transform.SetTranslation((to_old[:3, 3] + margin)[::-1].tolist())
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize([int(n) for n in reversed(shape)])
    resample.SetTransform(transform)
    resample.SetInterpolator(by_name[interpolation])
    resample.SetDefaultPixelValue(outside)
    if threads:
        resample.SetNumberOfThreads(threads)
    return SimpleITK.GetArrayFromImage(resample.Execute(image))
