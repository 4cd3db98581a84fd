"""Receive coils around the object: how sensitive each is where, in magnitude and phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.interpolate import make_interp_spline

DISTANCE = 1.15  # of the coils from the centre, as a share of half the diagonal of the field of view
RINGS = 0.25  # distance of the two rings from the middle of a volume, as a share of its third axis
SEGMENTS = 24  # of a loop
POINTS = 32  # an axis at which fields are computed; cubic splines lie between


class CoilArray:
    """Loops on a ring in the plane of the first two axes, two staggered rings around a volume.

    Each loop faces the centre, is as wide as the distance to the next (of six or more), and receives Bx - iBy of its
    own field, with B0 along the third axis: the law of Biot and Savart and the principle of reciprocity (Hoult and
    Richards, J Magn Reson 24, 1976). Sensitivities are normalised: the sum of their squared magnitudes is 1 everywhere.
    One coil is sensitive alike everywhere.

    Args:
        number: of coils.
        shape: ``(X, Y[, Z])``.
        spacing: mm along each axis.
        device: where sensitivities are made.
    """

    def __init__(self, number: int, shape: Sequence[int], spacing: Sequence[float], device: torch.device) -> None:
        self.number = number
        self.shape, self.device = tuple(shape), device
        extents = [size * step for size, step in zip(shape, spacing, strict=True)]
        self.ring = DISTANCE * math.hypot(*extents[:2]) / 2
        self.height = RINGS * extents[2] if len(extents) == 3 else 0.0
        on_a_ring = number if self.height == 0 else math.ceil(number / 2)
        self.radius = math.pi * self.ring / max(on_a_ring, 6)
        axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing, strict=True)]
        self.coarse = [axis if len(axis) <= POINTS else np.linspace(axis[0], axis[-1], POINTS) for axis in axes]
        self.between = [
            None if coarse is axis else _splines(coarse, axis).to(device)
            for coarse, axis in zip(self.coarse, axes, strict=True)
        ]
        self.total = torch.zeros(self.shape, device=device)
        for coil in range(number):
            self.total = torch.hypot(self.total, self._received(coil).abs())

    def sensitivity(self, coil: int) -> torch.Tensor:
        """That of one coil, complex64 of the grid's shape."""
        if self.number == 1:
            return torch.ones(self.shape, dtype=torch.complex64, device=self.device)
        return self._received(coil) / self.total

    def _received(self, coil: int) -> torch.Tensor:
        """Bx - iBy on the whole grid, in arbitrary units."""
        field = torch.as_tensor(self._field(coil), dtype=torch.complex64).to(self.device)
        for axis, matrix in enumerate(self.between):
            if matrix is not None:
                field = torch.tensordot(field, matrix, dims=([axis], [1])).movedim(-1, axis)
        return field

    def _field(self, coil: int) -> np.ndarray:
        """Bx - iBy of a loop on the coarse grid: sum of dl x r / r³ over its segments."""
        angle, turn = 2 * math.pi * coil / self.number, 2 * math.pi * np.arange(SEGMENTS + 1) / SEGMENTS
        outwards = np.array([math.cos(angle), math.sin(angle), 0])
        across = np.array([-math.sin(angle), math.cos(angle), 0])
        centre = self.ring * outwards + [0, 0, self.height if coil % 2 else -self.height]
        corners = centre + self.radius * (np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * [0, 0, 1])
        x, y, z = np.meshgrid(*self.coarse, *[[0.0]] * (3 - len(self.coarse)), indexing="ij")
        total = np.zeros(x.shape, complex)
        for start, end in pairwise(corners):
            along, middle = end - start, (start + end) / 2
            dx, dy, dz = x - middle[0], y - middle[1], z - middle[2]
            cubed = (dx**2 + dy**2 + dz**2) ** 1.5
            total += ((along[1] * dz - along[2] * dy) - 1j * (along[2] * dx - along[0] * dz)) / cubed
        return total.reshape([len(axis) for axis in self.coarse]) * self.ring


def _splines(coarse: np.ndarray, fine: np.ndarray) -> torch.Tensor:
    """The matrix of cubic spline interpolation, ``(fine, coarse)``, complex64."""
    matrix = make_interp_spline(coarse, np.eye(len(coarse)), k=3)(fine)
    return torch.as_tensor(matrix, dtype=torch.complex64)
