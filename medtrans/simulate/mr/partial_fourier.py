"""Partial Fourier: one end of k-space is left out, and made up for from the symmetry of a real object's k-space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medtrans.simulate.mr.kspace import along, to_image, to_kspace

METHODS = ("zero-filled", "homodyne", "pocs")
ITERATIONS = 12  # of POCS


class PartialFourier:
    """What was acquired along an axis of ``size`` encodings, and how the rest is made up for.

    Arrays of encodings have the zero frequency at index n // 2. The phase of the image is taken from the encodings
    whose mirror image was acquired, too.

    Args:
        size: number of phase encodings.
        fraction: share of them that is acquired, above 1/2; the largest positive frequencies are left out.
        method: ``zero-filled``: nothing; ``homodyne``: what was acquired alone counts twice, and the part of the image
            in phase with its low frequencies is taken (Noll et al., IEEE Trans Med Imaging 10, 1991), with weights
            that are 1 at low frequencies, where a phase that varies moves the signal, and then a ramp; ``pocs``:
            projections onto the acquired data and onto that phase in turn (Haacke et al., J Magn Reson 92, 1991).
    """

    def __init__(self, size: int, fraction: float, method: str) -> None:
        frequency = np.arange(size) - size // 2
        self.method = method
        self.acquired = np.arange(size) < np.ceil(fraction * size - 1e-9)
        reach = int(frequency[self.acquired].max()) + 1
        if reach < 1:
            raise ValueError(f"{fraction:.3g} of {size} phase encodings do not reach the zero frequency: acquire more")
        ramp = 1 - np.sign(frequency) * np.clip(2 * np.abs(frequency) / reach - 1, 0, 1)
        ramp[2 * frequency == -size] = 1  # the one at the edge of an even grid is its own mirror image
        self.homodyne = ramp
        self.low = np.where(np.abs(frequency) < reach, np.cos(np.pi * frequency / (2 * reach)) ** 2, 0)

    def reconstruct(self, kspace: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """The image, complex, from k-space along ``axes`` (FFT order, 0 where not acquired); partial along the first.

        Args:
            kspace: complex.
            axes: along which the image was transformed.
        """
        if self.method == "zero-filled":
            return to_image(kspace, axes)
        weights = [self._along(values, kspace, axes[0]) for values in (self.low, self.homodyne, self.acquired)]
        low, ramp, acquired = weights
        phase = torch.sgn(to_image(kspace * low, axes))
        if self.method == "homodyne":
            return (to_image(kspace * ramp, axes) * phase.conj()).real * phase
        image = to_image(kspace, axes)
        for _ in range(ITERATIONS):
            guess = to_kspace(image.abs() * phase, axes)
            image = to_image(torch.where(acquired > 0, kspace, guess), axes)
        return image

    @staticmethod
    def _along(values: np.ndarray, kspace: torch.Tensor, axis: int) -> torch.Tensor:
        line = torch.as_tensor(np.fft.ifftshift(values), dtype=torch.float32)
        return along(line, axis, kspace.ndim).to(kspace.device)
