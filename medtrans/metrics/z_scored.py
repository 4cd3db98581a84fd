"""Errors between images that are each brought to mean 0 and standard deviation 1 (the MR comparison of Welander)."""

from __future__ import annotations

import torch
from torch import Tensor

from medtrans.metrics.base import ImageMetric, Masks, masked_mean
from medtrans.metrics.psnr import decibel


class ZScoredMAE(ImageMetric):
    """Mean absolute error of z-scored images, in standard deviations; normalised inside the mask where there is one."""

    name, title, unit, higher_is_better, clips, order = "z_mae", "MAE (z-scored)", "SD", False, False, 80
    definition = "Mean absolute difference after each image is normalised to mean 0 and SD 1 (Welander 2018)."

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """Normalised anew in each mask."""
        return [
            masked_mean((z_scored(prediction, mask)[0] - z_scored(reference, mask)[0]).abs(), mask) for mask in masks
        ]


class ZScoredPSNR(ImageMetric):
    """PSNR of z-scored images in dB; the peak is the data range in standard deviations of the reference.

    The paper does not say which peak it takes; the fixed range keeps values comparable between images, which the
    maximum of each normalised image would not.
    """

    name, title, unit, higher_is_better, order = "z_psnr", "PSNR (z-scored)", "dB", True, 81
    definition = (
        "PSNR after each image is normalised to mean 0 and SD 1 (Welander 2018); peak: the data range divided by the "
        "reference's SD."
    )

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """Normalised anew in each mask; the channels' values are averaged."""
        values = []
        for mask in masks:
            scored, deviation = z_scored(reference, mask)
            squared = (z_scored(prediction, mask)[0] - scored) ** 2
            peak = width / deviation.flatten(1)
            errors = [masked_mean(channel, mask) for channel in squared.split(1, dim=1)]
            values.append(decibel(torch.stack(errors, dim=1), peak).mean(1))
        return values


def z_scored(image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each channel minus its mean over its standard deviation inside the mask (a constant one: minus its mean).

    Returns:
        The images, and the standard deviations as ``(B, C, 1, …)``.
    """
    axes = tuple(range(2, image.ndim))
    weight = torch.ones_like(image[:, :1]) if mask is None else mask.to(image)
    count = weight.sum(axes, keepdim=True).clamp(min=1)
    centred = image - (image * weight).sum(axes, keepdim=True) / count
    deviation = torch.sqrt((centred**2 * weight).sum(axes, keepdim=True) / count)
    # rounding leaves a constant image a deviation near 1e-16 of its value, never exactly 0
    deviation = torch.where(deviation > 1e-12 * image.abs().amax(axes, keepdim=True), deviation, 1.0)
    return centred / deviation, deviation
