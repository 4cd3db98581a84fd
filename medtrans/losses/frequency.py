"""Fidelity in k-space: the output's Fourier coefficients are the target's (the review's L11)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.averages import inside_body
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class Frequency(LossTerm):
    """mean_k w_k |F(G(y))_k − F(x)_k|^p over k-space, F the orthonormal Fourier transform (Quan 2018).

    Intensities are measured from −1, the background. With p = 2 and all of k-space it equals the L2 loss (Parseval):
    it differs by its weights, its band, or p = 1, which weighs weak coefficients, those of fine detail, more.

    - ``focal`` α > 0: w_k = (|F(G)_k − F(x)_k| / its maximum in the image)^α, without gradient (focal frequency loss,
      Jiang 2021, where p = 2, α = 1).
    - ``band``: w_k = 1 where the frequency |k| lies in it, else 0, and the mean is over the band.
    - ``phase: false`` compares magnitudes, ||F(G)_k| − |F(x)_k||^p (spectral loss of Dhariwal 2020, sec. 3.3; MONAI's
      JukeboxLoss): shifts cost nothing.

    Args:
        weight: factor in the generator's total.
        power: p, 1 or 2.
        focal: α ≥ 0.
        band: lowest and highest |k| along any direction, as a share of the Nyquist frequency: [0, 1.5] is all of a 2D
            image, whose corners lie at √2; [0.5, 1.5] fine detail only.
        phase: compare complex coefficients, not magnitudes.
        masked: only what lies in the body, the rest set to the background in both images.
    """

    def __init__(
        self,
        weight: float = 1.0,
        power: int = 1,
        focal: float = 0.0,
        band: Sequence[float] | None = None,
        phase: bool = True,
        masked: bool = False,
    ) -> None:
        super().__init__(weight)
        if power not in (1, 2) or focal < 0:
            raise InputError(f"frequency loss with power {power}, focal {focal}", "is unknown", "Use 1 or 2, and ≥ 0")
        if band is not None and not 0 <= band[0] < band[1]:
            raise InputError(f"frequency band {list(band)}", "is empty", "Give [lowest, highest], such as [0.5, 1.5]")
        self.power, self.focal, self.phase, self.masked = power, float(focal), phase, masked
        self.band = None if band is None else (float(band[0]), float(band[1]))

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """0 for identical images."""
        images = [candidate.image + 1, target.image + 1]
        if self.masked:
            inside = inside_body(target.mask, target.image, "Frequency")
            images = [image * inside for image in images]
        axes = tuple(range(2, target.image.ndim))
        found, wanted = (torch.fft.fftn(image, dim=axes, norm="ortho") for image in images)
        distance = (found - wanted).abs() if self.phase else (found.abs() - wanted.abs()).abs()
        cost = distance**self.power
        if self.focal:
            strongest = distance.detach().amax(axes, keepdim=True).clamp(min=torch.finfo(distance.dtype).tiny)
            cost = cost * (distance.detach() / strongest) ** self.focal
        if self.band is None:
            return cost.mean()
        chosen = self._in_band(cost)
        if not chosen.any():
            raise ValueError(f"no frequency of a {tuple(cost.shape[2:])} image lies in the band {list(self.band)}")
        return cost[..., chosen].mean()

    def _in_band(self, spectrum: Tensor) -> Tensor:
        """Where |k| lies in the band, ``(*spatial)``."""
        assert self.band is not None
        squares = torch.zeros(spectrum.shape[2:], device=spectrum.device)
        for axis, length in enumerate(spectrum.shape[2:]):
            shape = [1] * squares.ndim
            shape[axis] = length
            squares = squares + (2 * torch.fft.fftfreq(length, device=spectrum.device)).square().view(shape)
        radius = squares.sqrt()
        return (radius >= self.band[0]) & (radius <= self.band[1])
