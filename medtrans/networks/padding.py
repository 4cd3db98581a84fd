"""Any image size in, the same size out: pad to the multiple a network needs, crop its output back."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Replicate the far borders of ``(B, C, *spatial)`` until every spatial size is a multiple of ``multiple``."""
    widths: list[int] = []
    for axis in range(image.dim() - 1, 1, -1):  # F.pad counts axes from the last one
        widths += [0, (-image.size(axis)) % multiple]
    return F.pad(image, widths, mode="replicate") if sum(widths) > 0 else image


def crop_to(image: Tensor, size: list[int]) -> Tensor:
    """Undo :func:`pad_to_multiple`: keep the first ``size`` positions of every spatial axis."""
    for axis in range(len(size)):
        image = image.narrow(axis + 2, 0, size[axis])
    return image
