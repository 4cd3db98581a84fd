"""Voxel grids centred in the field of view, in RAS order, and the finer grids that resolve partial volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

#: nominal field of view in mm: left to right, back to front, bottom to top
FIELD_OF_VIEW = (192.0, 224.0, 192.0)
#: a voxel larger than this (mm) is computed as the mean of smaller ones
FINEST_NEEDED = 2.0


@dataclass(frozen=True)
class Grid:
    """``shape`` voxels of ``spacing`` mm along x (right), y (front), z (top); its centre is the world's origin."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @classmethod
    def covering(cls, spacing: float | Sequence[float], shape: Sequence[int] | None = None) -> Grid:
        """The grid of one spacing (a number, or one an axis), over the nominal field of view unless ``shape`` is given.

        Raises:
            ValueError: a spacing is not positive, or ``shape`` is not three positive numbers.
        """
        along = (float(spacing),) * 3 if isinstance(spacing, (int, float)) else tuple(float(s) for s in spacing)
        if len(along) != 3 or not all(s > 0 and math.isfinite(s) for s in along):
            raise ValueError(f"spacing must be a positive number of mm, or three, got {spacing}")
        counts = (
            tuple(shape)
            if shape is not None
            else tuple(round(f / s) for f, s in zip(FIELD_OF_VIEW, along, strict=True))
        )
        if len(counts) != 3 or not all(n >= 1 for n in counts):
            raise ValueError(f"shape must be three positive numbers of voxels, got {counts} at {spacing} mm")
        return cls(tuple(int(n) for n in counts), along)  # type: ignore[arg-type]

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to RAS world coordinates in mm, shape (4, 4), float64."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(self.shape, self.spacing, strict=True)]
        return affine

    def coordinates(self, axis: int) -> torch.Tensor:
        """World coordinates (mm) of the voxel centres along one axis."""
        n, s = self.shape[axis], self.spacing[axis]
        return (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * s

    @property
    def oversampling(self) -> tuple[int, int, int]:
        """Finer voxels a voxel along each axis, so that none is larger than :data:`FINEST_NEEDED`."""
        return tuple(math.ceil(s / FINEST_NEEDED - 1e-6) for s in self.spacing)  # type: ignore[return-value]

    def finer(self) -> Grid:
        """The oversampled grid: the same box, cut into smaller voxels."""
        factors = self.oversampling
        return Grid(
            tuple(n * k for n, k in zip(self.shape, factors, strict=True)),  # type: ignore[arg-type]
            tuple(s / k for s, k in zip(self.spacing, factors, strict=True)),  # type: ignore[arg-type]
        )


def block_means(values: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    """The mean of every ``factors``-sized block of ``values`` (x, y, z)."""
    if tuple(factors) == (1, 1, 1):
        return values
    return torch.nn.functional.avg_pool3d(values[None], tuple(factors))[0]


def block_modes(labels: torch.Tensor, factors: Sequence[int]) -> torch.Tensor:
    """The most frequent label of every ``factors``-sized block of ``labels`` (x, y, z); the smallest of equals."""
    if tuple(factors) == (1, 1, 1):
        return labels
    blocks = labels
    for axis, factor in enumerate(factors):
        blocks = blocks.unflatten(2 * axis, (-1, factor))
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).mode(-1).values
