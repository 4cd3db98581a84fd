"""Smooth random fields on coarse lattices in world millimetres, and their linear interpolation to any grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

#: half the extent in mm that random fields cover, a little more than the nominal field of view; constant beyond
HALF_EXTENT = (104.0, 120.0, 104.0)


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of ``seed`` for one purpose: adding a purpose leaves those of the others as they were."""
    return np.random.default_rng([seed, *purpose.encode()])


def along_axes(volume: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Apply one matrix along each axis of a volume.

    Args:
        volume: shape (a, b, c).
        matrices: shapes (x, a), (y, b), (z, c).

    Returns:
        Shape (x, y, z).
    """
    for_x, for_y, for_z = matrices
    a, b, c = volume.shape
    volume = (for_x @ volume.reshape(a, b * c)).view(-1, b, c)
    return (for_y @ volume) @ for_z.T


@dataclass(frozen=True)
class Axis:
    """Equally spaced nodes along one axis: ``start + step * (0 .. count - 1)`` mm."""

    start: float
    step: float
    count: int

    @classmethod
    def covering(cls, lower: float, upper: float, step: float) -> Axis:
        """Nodes at whole multiples of ``step`` that enclose ``[lower, upper]``."""
        first, last = math.floor(lower / step), math.ceil(upper / step)
        return cls(first * step, step, last - first + 1)

    @property
    def nodes(self) -> torch.Tensor:
        """World coordinates of the nodes, mm, shape (count,)."""
        return self.start + self.step * torch.arange(self.count, dtype=torch.float32)

    def weights(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Linear interpolation from the nodes to ``coordinates`` (n,), as a matrix (n, count); constant outside."""
        position = ((coordinates - self.start) / self.step).clamp(0, self.count - 1)
        return (1 - (position[:, None] - torch.arange(self.count, dtype=torch.float32)).abs()).clamp_(min=0)


Axes = tuple[Axis, Axis, Axis]


def covering(halves: Sequence[float], step: float) -> Axes:
    """Axes with nodes every ``step`` mm that enclose plus and minus ``halves`` (mm)."""
    x, y, z = (Axis.covering(-half, half, step) for half in halves)
    return x, y, z


@dataclass(frozen=True)
class Field:
    """Values on the nodes of three axes, linear in between."""

    axes: Axes
    values: torch.Tensor

    def at(self, coordinates: Sequence[torch.Tensor]) -> torch.Tensor:
        """Values on the grid spanned by three coordinate vectors (mm); shape (n_x, n_y, n_z)."""
        weights = [axis.weights(along) for axis, along in zip(self.axes, coordinates, strict=True)]
        used = (weights[0] > 0).any(0).nonzero()  # few nodes matter to a slab
        first, last = int(used[0]), int(used[-1]) + 1
        return along_axes(self.values[first:last], (weights[0][:, first:last], *weights[1:]))


def filtered_noise(
    shape: Sequence[int], transfer: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """White noise through an isotropic filter, periodic, with mean 0 and standard deviation 1.

    Args:
        shape: nodes along each axis.
        transfer: amplitude for a spatial frequency in cycles a node.
        rng: source of the noise.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    along = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squares = sum(component**2 for component in np.meshgrid(*along, indexing="ij", sparse=True))
    gain = transfer(np.sqrt(squares)).astype(np.float32)
    noise = scipy.fft.irfftn(scipy.fft.rfftn(white) * gain, s=shape)
    noise -= noise.mean()
    return noise / noise.std()


def smooth_field(sigma: float, rng: np.random.Generator, step: float) -> Field:
    """Gaussian-smoothed noise, mean 0, SD 1, over the whole head.

    Args:
        sigma: standard deviation of the smoothing kernel, mm.
        rng: source of the noise.
        step: distance of the nodes, mm; at most about ``sigma``.
    """
    axes = covering(HALF_EXTENT, step)
    nodes = sigma / step
    noise = filtered_noise([axis.count for axis in axes], lambda k: np.exp(-2 * (math.pi * nodes * k) ** 2), rng)
    return Field(axes, torch.from_numpy(noise))


def band_pass_cube(nodes: int, wavelength: float, rng: np.random.Generator, bandwidth: float = 0.22) -> np.ndarray:
    """Cubic periodic noise of one wavelength (in nodes): its zero level set is a labyrinth of evenly spaced sheets."""
    return filtered_noise(
        (nodes,) * 3, lambda k: np.exp(-0.5 * ((k - 1 / wavelength) * wavelength / bandwidth) ** 2), rng
    )
