"""Peak signal-to-noise ratio over a fixed data range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medtrans.metrics.base import ImageMetric, Masks, masked_mean


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio in dB; the peak is the width of the data range. Identical images give infinity."""

    name, title, unit, higher_is_better, order = "psnr", "PSNR", "dB", True, 20
    definition = "10·log₁₀(width² / MSE), width of the stated data range, both images clipped to it; identical: ∞."

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """From the mean squared error in each mask."""
        squared = (prediction - reference) ** 2
        return [decibel(masked_mean(squared, mask), width) for mask in masks]


def decibel(squared_error: Tensor, peak: float | Tensor) -> Tensor:
    """PSNR of a mean squared error; infinity where it is 0."""
    peak = peak if isinstance(peak, Tensor) else torch.full_like(squared_error, peak)
    return (2 * torch.log(peak) - torch.log(squared_error)) * (10 / math.log(10))
