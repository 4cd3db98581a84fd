"""Smooth random fields of a given length scale: shading, phase, noise amplification."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

WAVES = 32


def smooth_field(
    shape: Sequence[int], spacing: Sequence[float], length: float, seed: Sequence[int], device: torch.device
) -> torch.Tensor:
    """A random field of mean 0 whose largest and smallest value are 1 apart.

    A sum of plane waves with normally distributed wave vectors: random Fourier features (Rahimi and Recht, NIPS 2007)
    of a Gaussian process whose correlation falls as exp(-d²/(2 length²)). In millimetres, so it does not depend on the
    voxels, and no axis is special.

    Args:
        shape: ``(X, Y[, Z])``.
        spacing: mm along each axis.
        length: correlation length in mm.
        seed: another field for every sequence of numbers.
        device: where the field is made.

    Returns:
        float32 of ``shape``; 0 where the grid is a single voxel.
    """
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(WAVES, len(shape))) / length
    starts = torch.as_tensor(random.uniform(0, 2 * math.pi, WAVES))
    waves = []
    for axis, (size, step) in enumerate(zip(shape, spacing, strict=True)):
        place = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * step
        angle = torch.outer(torch.as_tensor(vectors[:, axis]), place) + (starts[:, None] if axis == 0 else 0)
        waves.append(torch.polar(torch.ones_like(angle), angle).to(torch.complex64).to(device))
    first, *others = waves
    across = others[0] if len(others) == 1 else (others[0][:, :, None] * others[1][:, None, :]).flatten(1)
    field = (first.real.T @ across.real - first.imag.T @ across.imag).reshape(*shape)  # the waves' real part
    field = field - field.mean()
    span = field.max() - field.min()
    return field / span if span > 0 else field
