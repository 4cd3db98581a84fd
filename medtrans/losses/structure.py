"""Structural similarity as a loss, patch by patch, at one scale or several (the review's L8)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medtrans.errors import InputError
from medtrans.losses.averages import image_means, inside_body
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm
from medtrans.metrics.base import at_window_centres
from medtrans.metrics.ssim import SCALE_WEIGHTS, SIZE, similarity_maps, too_small

WIDTH = 2.0  # of the interval [-1, 1]


class _Similarity(LossTerm):
    """One minus a similarity of windows."""

    def __init__(self, weight: float = 1.0, masked: bool = False) -> None:
        super().__init__(weight)
        self.masked = masked

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """0 for identical images, at most 2."""
        least = self.least_size()
        if reason := too_small(target.image.shape[2:], least):
            raise ValueError(f"{type(self).__name__} {reason}")
        inside = inside_body(target.mask, target.image, type(self).__name__) if self.masked else None
        with torch.autocast(target.image.device.type, enabled=False):  # variances need float32
            return 1 - self.similarity(candidate.image + 1, target.image + 1, inside)

    def least_size(self) -> int:
        """Voxels that the image must have along every axis."""
        return SIZE

    def similarity(self, found: Tensor, wanted: Tensor, inside: Tensor | None) -> Tensor:
        """The mean similarity of images in [0, 2], 1 for identical ones."""
        raise NotImplementedError


class SSIM(_Similarity):
    """1 − mean_p SSIM(G(y)_p, x_p) over patches p (Wang 2004, eq. 13; as a loss Zhao 2017).

    SSIM = (2 μ_G μ_x + C₁)(2 σ_Gx + C₂) / ((μ_G² + μ_x² + C₁)(σ_G² + σ_x² + C₂)), moments in a Gaussian window of 11
    voxels, σ 1.5, on intensities from 0 to 2, C₁ = (0.01·2)², C₂ = (0.03·2)²: exactly what an evaluation reports for
    slices, and what ``monai.losses.SSIMLoss`` gives for them.

    Args:
        weight: factor in the generator's total.
        masked: the mean over patches whose centre lies in the body.
    """

    def similarity(self, found: Tensor, wanted: Tensor, inside: Tensor | None) -> Tensor:
        """The mean over channels, patches and batch."""
        luminance, contrast_structure = similarity_maps(found, wanted, WIDTH)
        quality = luminance * contrast_structure
        return image_means(quality, at_window_centres(inside, quality.shape[2:]), empty=1.0).mean()


class MultiScaleSSIM(_Similarity):
    """1 − mean Π_s cs_s^{w_s} · l_S^{w_S} over scales s = 1…S (Wang 2003; as a loss Zhao 2017).

    cs and l are the means over patches of SSIM's contrast-structure and luminance at scale s, each scale the average
    pooling by two of the one before; negative means count as (almost) 0.

    Args:
        weight: factor in the generator's total.
        masked: the mean over patches whose centre lies in the body.
        scales: S from 1 to 5; image axes need 11 · 2^(S−1) voxels: 176 for 5, 44 for 3. The weights of fewer scales
            are the paper's, divided by their sum.

    Raises:
        InputError: another number of scales.
    """

    def __init__(self, weight: float = 1.0, masked: bool = False, scales: int = 5) -> None:
        super().__init__(weight, masked)
        if scales not in range(1, len(SCALE_WEIGHTS) + 1):
            raise InputError(f"scales {scales}", "cannot be used for MS-SSIM", f"Use 1 to {len(SCALE_WEIGHTS)}")
        chosen = SCALE_WEIGHTS[:scales]
        self.scale_weights: Sequence[float] = SCALE_WEIGHTS if scales == 5 else [w / sum(chosen) for w in chosen]

    def least_size(self) -> int:
        """So that the window fits at the last scale."""
        return SIZE * 2 ** (len(self.scale_weights) - 1)

    def similarity(self, found: Tensor, wanted: Tensor, inside: Tensor | None) -> Tensor:
        """The mean over batch and channels of the product over the scales."""
        channels = found.shape[1]
        # each channel is an image of its own: the product is not that of the channels' mean
        found, wanted = (image.flatten(0, 1).unsqueeze(1) for image in (found, wanted))
        inside = None if inside is None else inside.repeat_interleave(channels, 0)
        total = found.new_ones(len(found))
        for scale, weight in enumerate(self.scale_weights):
            luminance, quality = similarity_maps(found, wanted, WIDTH)
            if scale == len(self.scale_weights) - 1:
                quality = luminance * quality
            means = image_means(quality, at_window_centres(inside, quality.shape[2:]), empty=1.0)
            total = total * means.clamp(min=1e-6) ** weight  # the power has no finite slope at 0
            found, wanted = _halved(found), _halved(wanted)
            inside = None if inside is None else (_halved(inside) > 0.5).to(inside.dtype)
        return total.mean()


def _halved(image: Tensor) -> Tensor:
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    return pool(image, 2)
