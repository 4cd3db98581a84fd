"""Visual information fidelity in the pixel domain (Sheikh and Bovik 2006)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medtrans.metrics.base import ImageMetric, Masks, at_window_centres
from medtrans.metrics.ssim import too_small
from medtrans.metrics.windows import filtered, gaussian

NOISE = 2.0  # variance of the visual noise, for intensities 0-255
TINY = 1e-10
SIZES = (17, 9, 5, 3)


class VIF(ImageMetric):
    """How much of the reference's information is left: 1 for identical images, above 1 for enhanced contrast.

    The pixel-domain form (the authors' ``vifp_mscale``): four scales, Gaussian windows of 17, 9, 5 and 3 voxels with
    σ = size / 5, noise variance 2 on intensities scaled to 0-255 by the data range. The wavelet form is another
    metric. In 3D the windows are 3D. Undefined (NaN) where the reference is flat: it holds no information.
    """

    name, title, higher_is_better, order = "vif", "VIF", True, 50
    definition = (
        "Visual information fidelity, pixel domain (Sheikh & Bovik 2006): four scales, intensities scaled to 0–255 "
        "by the data range, noise variance 2."
    )

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """Information kept over information there, each summed over the scales, the mean over channels."""
        images = [reference * (255.0 / width), prediction * (255.0 / width)]
        inside = list(masks)
        kept, there = ([reference.new_zeros(reference.shape[:2]) for _ in masks] for _ in range(2))
        for scale, size in enumerate(SIZES):
            window = gaussian(size, size / 5)
            if scale:
                images = [_every_second(filtered(image, window)) for image in images]
                inside = [_mask_of_scale(mask, size) for mask in inside]
            information = _information(images[0], images[1], window)
            for index, mask in enumerate(inside):
                kept[index] += _sum_of_channels(information[0], mask)
                there[index] += _sum_of_channels(information[1], mask)
        return [(part / whole).mean(1) for part, whole in zip(kept, there, strict=True)]

    def refuses(self, shape: Sequence[int]) -> str | None:
        """Images whose fourth scale has no room for its window."""
        return too_small(shape, 41)


def _information(reference: Tensor, distorted: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of the information shared with the reference, and of the information in it."""
    mean_r, mean_d = filtered(reference, window), filtered(distorted, window)
    variance_r = (filtered(reference**2, window) - mean_r**2).clamp(min=0)
    variance_d = (filtered(distorted**2, window) - mean_d**2).clamp(min=0)
    covariance = filtered(reference * distorted, window) - mean_r * mean_d
    gain = covariance / (variance_r + TINY)
    unexplained = variance_d - gain * covariance
    no_signal = (variance_r < TINY) | (gain < 0)
    unexplained = torch.where(no_signal, variance_d, unexplained)
    gain = torch.where(no_signal | (variance_d < TINY), 0.0, gain)
    unexplained = torch.where(variance_d < TINY, 0.0, unexplained).clamp(min=TINY)
    variance_r = torch.where(variance_r < TINY, 0.0, variance_r)
    shared = torch.log1p(gain**2 * variance_r / (unexplained + NOISE))
    return shared, torch.log1p(variance_r / NOISE)


def _every_second(image: Tensor) -> Tensor:
    for axis in range(2, image.ndim):
        image = image.index_select(axis, torch.arange(0, image.shape[axis], 2, device=image.device))
    return image


def _mask_of_scale(mask: Tensor | None, size: int) -> Tensor | None:
    """The mask on the grid of the next scale: window centres, every second one."""
    if mask is None:
        return None
    centres = at_window_centres(mask, [length - size + 1 for length in mask.shape[2:]])
    return None if centres is None else _every_second(centres)


def _sum_of_channels(values: Tensor, mask: Tensor | None) -> Tensor:
    """``(B, C)``: the sum over the positions inside the mask."""
    inside = at_window_centres(mask, values.shape[2:])
    return (values if inside is None else torch.where(inside, values, 0.0)).flatten(2).sum(2)
