"""k-space: orthonormal Fourier transforms along chosen axes, and the frequency of each of their samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def to_kspace(image: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Image to k-space along ``axes``, orthonormal (noise of the one is noise of the other), zero frequency first."""
    return torch.fft.fftn(image, dim=tuple(axes), norm="ortho")


def to_image(kspace: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """What :func:`to_kspace` made ``kspace`` from; complex64."""
    return torch.fft.ifftn(kspace, dim=tuple(axes), norm="ortho")


def along(values: torch.Tensor, axis: int, dimensions: int) -> torch.Tensor:
    """A vector as an array of ``dimensions`` axes that varies along ``axis`` alone."""
    return values.reshape([-1 if number == axis else 1 for number in range(dimensions)])


def complex_noise(shape: Sequence[int], source: torch.Generator, device: torch.device) -> torch.Tensor:
    """Complex Gaussian noise with a standard deviation of 1 in either part, complex64, the same on every device."""
    return torch.view_as_complex(torch.randn((*shape, 2), generator=source)).to(device)
