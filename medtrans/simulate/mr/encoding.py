"""From image to samples of k-space and back: on the Cartesian grid, and along readouts beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import finufft
import numpy as np
import torch

from medtrans.simulate.mr.kspace import along, to_image, to_kspace
from medtrans.simulate.mr.partial_fourier import PartialFourier

ACCURACY = 1e-5  # of the non-uniform transforms, relative: that of float32 sums
TOGETHER = 32  # images a non-uniform transform works on at once


class Encoding(Protocol):
    """How an image ``(C, X, Y[, Z])`` is measured."""

    def sample(self, image: torch.Tensor) -> torch.Tensor:
        """What a coil that sees the complex ``image`` measures, in units in which noise is that of the full image."""

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """The image of these samples, each weighted with the area it stands for; what was not measured is 0."""

    def reconstruct(self, samples: torch.Tensor) -> torch.Tensor:
        """As :meth:`adjoint`, with what else is known of the image."""


class CartesianEncoding:
    """Phase encodings on the grid of the image's frequencies; readouts are whole, so their transform is left out.

    Args:
        mask: measured encodings, zero frequency at n // 2, one axis for each of ``axes``.
        axes: phase-encoded axes of the image, the channel's is 0.
        dimensions: of the image, with its channels.
        partial: what is done about a part of k-space that was left out along ``axes[0]``.
        device: of the images.
    """

    def __init__(
        self,
        mask: np.ndarray,
        axes: Sequence[int],
        dimensions: int,
        partial: PartialFourier | None,
        device: torch.device,
    ) -> None:
        self.axes = tuple(axes)
        self.partial = partial
        grid = torch.as_tensor(np.fft.ifftshift(mask), dtype=torch.float32)
        if len(self.axes) == 2 and self.axes[0] > self.axes[1]:
            grid = grid.T
        shape = [1] * dimensions
        for axis, size in zip(sorted(self.axes), grid.shape, strict=True):
            shape[axis] = size
        self.mask = grid.reshape(shape).to(device)
        if partial is not None:
            acquired = torch.fft.ifftshift(torch.as_tensor(partial.acquired))
            self.mask = self.mask * along(acquired, self.axes[0], dimensions).to(self.mask)

    def sample(self, image: torch.Tensor) -> torch.Tensor:
        """See :class:`Encoding`."""
        return to_kspace(image, self.axes)  # what was not measured is taken out where samples are used

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """See :class:`Encoding`."""
        return to_image(samples * self.mask, self.axes)

    def reconstruct(self, samples: torch.Tensor) -> torch.Tensor:
        """See :class:`Encoding`."""
        if self.partial is None:
            return self.adjoint(samples)
        return self.partial.reconstruct(samples * self.mask, self.axes)


class ReadoutEncoding:
    """Samples beside the grid, in each plane of the image, by non-uniform Fourier transforms (FINUFFT, on the CPU).

    Args:
        points: ``(2, M)`` in cycles a voxel.
        areas: ``(M,)`` in square cycles a voxel: the density compensation.
        plane: the two axes of the image that are read; the others are slices and channels.
        shape: of the image, with its channels.
    """

    def __init__(self, points: np.ndarray, areas: np.ndarray, plane: tuple[int, int], shape: Sequence[int]) -> None:
        self.points = [np.ascontiguousarray(2 * np.pi * axis, dtype=np.float32) for axis in points]
        self.areas = torch.as_tensor(areas, dtype=torch.float32)
        self.plane = plane
        self.others = [axis for axis in range(len(shape)) if axis not in plane]
        self.counts = [shape[axis] for axis in self.others]
        self.matrix = tuple(shape[axis] for axis in plane)
        self.voxels = self.matrix[0] * self.matrix[1]

    def sample(self, image: torch.Tensor) -> torch.Tensor:
        """See :class:`Encoding`."""
        stack = image.permute(*self.others, *self.plane).reshape(-1, *self.matrix).to(torch.complex64)
        measured = self._in_parts(finufft.nufft2d2, stack, isign=-1).to(image.device) / self.voxels**0.5
        return measured.reshape(*self.counts, -1)

    def adjoint(self, samples: torch.Tensor) -> torch.Tensor:
        """See :class:`Encoding`."""
        weighted = samples.flatten(0, -2) * (self.areas * self.voxels**0.5).to(samples.device)
        stack = self._in_parts(finufft.nufft2d1, weighted, n_modes=self.matrix, isign=1).to(samples.device)
        order = [*self.others, *self.plane]
        return stack.reshape(*self.counts, *self.matrix).permute([order.index(axis) for axis in range(len(order))])

    def reconstruct(self, samples: torch.Tensor) -> torch.Tensor:
        """See :class:`Encoding`."""
        return self.adjoint(samples)

    def _in_parts(self, transform: Callable[..., np.ndarray], stack: torch.Tensor, **settings: Any) -> torch.Tensor:
        """``transform`` of a stack of images or of samples, a few at a time, on as many threads as torch takes."""
        settings |= {"eps": ACCURACY, "nthreads": torch.get_num_threads()}
        parts = [np.ascontiguousarray(part) for part in stack.cpu().resolve_conj().split(TOGETHER)]
        return torch.cat([torch.as_tensor(np.atleast_2d(transform(*self.points, part, **settings))) for part in parts])
