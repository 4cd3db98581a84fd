"""Misaligned pairs, made: a smooth random displacement of known size, applied to a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates


def smooth_displacement(
    shape: Sequence[int],
    spacing: Sequence[float],
    magnitude: float,
    scale: float = 25.0,
    seed: int = 0,
    axes: Sequence[int] | None = None,
) -> np.ndarray:
    """A Gaussian random displacement field.

    Args:
        shape: of the grid, two or three axes.
        spacing: of its voxels in mm.
        magnitude: root mean square length of the displacement in mm.
        scale: standard deviation in mm of the Gaussian that makes it smooth.
        seed: another field for every seed.
        axes: along which it displaces; None displaces along all.

    Returns:
        Displacement in mm along each axis, ``(len(shape), *shape)``.
    """
    random = np.random.default_rng([seed, len(shape)])
    sigma = [scale / width for width in spacing]
    field = np.stack([gaussian_filter(random.normal(size=shape), sigma, mode="wrap") for _ in shape])
    field[[axis for axis in range(len(shape)) if axes is not None and axis not in axes]] = 0
    return magnitude * field / np.sqrt((field**2).sum(axis=0).mean())


def displaced(volume: np.ndarray, displacement: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """``volume`` that shows at p what it showed at p + displacement(p): cubic, within the values there were.

    Args:
        volume: two or three axes.
        displacement: mm, as from :func:`smooth_displacement`.
        spacing: of the voxels in mm.
    """
    widths = np.reshape(spacing, (-1, *[1] * volume.ndim))
    place = np.indices(volume.shape) + displacement / widths
    values = map_coordinates(np.asarray(volume, np.float32), place, order=3, mode="nearest")
    return np.clip(values, volume.min(), volume.max()).astype(volume.dtype)
