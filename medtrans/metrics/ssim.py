"""Structural similarity, at one and at several scales (Wang et al. 2004, 2003)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medtrans.metrics.base import ImageMetric, MapMetric, Masks, at_window_centres, masked_mean
from medtrans.metrics.windows import filtered, gaussian

SIZE, SIGMA = 11, 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


class SSIM(MapMetric):
    """Structural similarity with the paper's window: Gaussian, 11 taps, σ 1.5, K₁ 0.01, K₂ 0.03, border left out."""

    name, title, higher_is_better, order = "ssim", "SSIM", True, 10
    definition = (
        "Structural similarity (Wang 2004): Gaussian window of 11 voxels per axis, σ 1.5, K₁ 0.01, K₂ 0.03, images "
        "clipped to the data range and measured from its lower end, positions where the window fits."
    )

    def quality_map(self, prediction: Tensor, reference: Tensor, width: float) -> Tensor:
        """SSIM at every position where the window fits."""
        luminance, contrast_structure = similarity_maps(prediction, reference, width)
        return luminance * contrast_structure

    def refuses(self, shape: Sequence[int]) -> str | None:
        """Images smaller than the window."""
        return too_small(shape, SIZE)


class MultiScaleSSIM(ImageMetric):
    """SSIM over five scales, each the average pooling by two of the one before (Wang 2003)."""

    name, title, higher_is_better, order, by_default = "ms_ssim", "MS-SSIM", True, 11, False
    definition = (
        "Multi-scale SSIM (Wang 2003): contrast and structure at four scales, the full SSIM at the fifth, average "
        "pooling by 2 between them; negative means count as 0."
    )

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """The weighted product of the means at each scale."""
        images, values = (prediction, reference), [prediction.new_ones(prediction.shape[:2]) for _ in masks]
        shrunk = list(masks)
        for scale, weight in enumerate(SCALE_WEIGHTS):
            luminance, quality = similarity_maps(*images, width)
            if scale == len(SCALE_WEIGHTS) - 1:
                quality = luminance * quality
            for index, mask in enumerate(shrunk):
                values[index] = values[index] * _mean_of_channels(quality, mask).clamp(min=0) ** weight
            images = (_halved(images[0]), _halved(images[1]))
            shrunk = [None if mask is None else _halved(mask.to(quality)) > 0.5 for mask in shrunk]
        return [value.mean(1) for value in values]

    def refuses(self, shape: Sequence[int]) -> str | None:
        """Images whose fifth scale is smaller than the window."""
        return too_small(shape, SIZE * 2 ** (len(SCALE_WEIGHTS) - 1))


def similarity_maps(x: Tensor, y: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure maps of SSIM, which needs only the sum of the two variances."""
    window = gaussian(SIZE, SIGMA)
    c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
    mean_x, mean_y = filtered(x, window), filtered(y, window)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = filtered(x * y, window) - product
    variances = filtered(x * x + y * y, window) - squares
    return (2 * product + c1) / (squares + c1), (2 * covariance + c2) / (variances + c2)


def too_small(shape: Sequence[int], least: int) -> str | None:
    """The reason not to measure an image that is smaller than ``least`` along an axis, or None."""
    if min(shape) >= least:
        return None
    return f"needs at least {least} voxels along every axis, the image has {'×'.join(map(str, shape))}"


def _mean_of_channels(quality: Tensor, mask: Tensor | None) -> Tensor:
    """``(B, C)``: the mean of each channel in the mask."""
    mask = at_window_centres(mask, quality.shape[2:])
    return torch.stack([masked_mean(channel, mask) for channel in quality.split(1, dim=1)], dim=1)


def _halved(image: Tensor) -> Tensor:
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    return pool(image, 2)
