"""Receive coils around the object: how sensitive each is where, in magnitude and phase."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

DISTANCE = 1.25  # of the coils from the centre, as a share of half the diagonal of the field of view
RINGS = 0.25  # distance of the two rings from the middle of a volume, as a share of its third axis


class CoilArray:
    """Small loops on a ring in the plane of the first two axes, two staggered rings around a volume.

    A loop receives B1- of a magnetic dipole that points at the centre, Bx - iBy with B0 along the third axis
    (principle of reciprocity, Hoult and Richards, J Magn Reson 24, 1976). Sensitivities are normalised: the sum of
    their squared magnitudes is 1 everywhere. One coil is sensitive alike everywhere.

    Args:
        number: of coils.
        shape: ``(X, Y[, Z])``.
        spacing: mm along each axis.
        device: where sensitivities are made.
    """

    def __init__(self, number: int, shape: Sequence[int], spacing: Sequence[float], device: torch.device) -> None:
        self.number = number
        self.device = device
        extents = [size * step for size, step in zip(shape, spacing, strict=True)]
        self.axes = [
            (torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2) * step
            for size, step in zip(shape, spacing, strict=True)
        ]
        self.ring = DISTANCE * math.hypot(*extents[:2]) / 2
        self.offset = RINGS * extents[2] if len(extents) == 3 else 0.0
        self.total = torch.zeros([*shape], device=device)
        for coil in range(number):
            self.total = torch.hypot(self.total, self._received(coil).abs())

    def sensitivity(self, coil: int) -> torch.Tensor:
        """That of one coil, complex64 of the grid's shape."""
        if self.number == 1:
            return torch.ones([len(axis) for axis in self.axes], dtype=torch.complex64, device=self.device)
        return self._received(coil) / self.total

    def _received(self, coil: int) -> torch.Tensor:
        angle = 2 * math.pi * coil / self.number
        inwards = (-math.cos(angle), -math.sin(angle))
        height = self.offset if coil % 2 else -self.offset
        place = (-self.ring * inwards[0], -self.ring * inwards[1], height)
        x, y, *z = torch.meshgrid(*[axis - at for axis, at in zip(self.axes, place, strict=False)], indexing="ij")
        squared = x**2 + y**2 + (z[0] ** 2 if z else 0)
        along = 3 * (inwards[0] * x + inwards[1] * y) / squared
        field = torch.complex(along * x - inwards[0], -(along * y - inwards[1]))
        return field / (squared / self.ring**2) ** 1.5
