"""What noise and artefacts are measured against: the signal of an image's foreground."""

from __future__ import annotations

import torch


def signal_level(img: torch.Tensor) -> torch.Tensor:
    """Mean of the voxels that are at least as bright as the image's mean: the tissue, without air.

    Args:
        img: ``(C, X, Y[, Z])``, a magnitude.

    Returns:
        One level a channel, shaped ``(C, 1, 1[, 1])``; that of a constant image is its value.
    """
    voxels = img.flatten(1)
    foreground = voxels >= voxels.mean(1, keepdim=True) * (1 - 1e-6)  # a constant image is rounded to either side
    level = (voxels * foreground).sum(1) / foreground.sum(1).clamp(min=1)
    return level.reshape(-1, *[1] * (img.ndim - 1))
