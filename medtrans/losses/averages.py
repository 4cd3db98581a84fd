"""Averages over images: over all voxels, over the body, or weighted voxel by voxel."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The weighted mean of each image, then the mean over the batch: parts of a batch weigh as the whole does.

    Args:
        values: ``(B, C, *spatial)``.
        weight: the same shape or ``(B, 1, *spatial)``, ≥ 0; None weighs all alike. An image whose weights are all 0
            (no body in it) counts as 0.
    """
    return image_means(values, weight).mean()


def image_means(values: Tensor, weight: Tensor | None, empty: float = 0.0) -> Tensor:
    """``(B,)``: the weighted mean of each image, ``empty`` where all weights are 0. See :func:`weighted_mean`."""
    if weight is None:
        return values.flatten(1).mean(1)
    weight = weight.expand_as(values)
    inside, sums = (torch.where(weight > 0, values, 0) * weight).flatten(1).sum(1), weight.flatten(1).sum(1)
    return torch.where(sums > 0, inside / torch.where(sums > 0, sums, 1), empty)


def inside_body(mask: Tensor | None, values: Tensor, term: str) -> Tensor:
    """The body as a weight of 1 inside and 0 outside, in the type of ``values``.

    Raises:
        ValueError: there is no mask; ``term`` is who asked for it.
    """
    if mask is None:
        raise ValueError(f"a masked {term} needs the body mask, but the data set has none")
    return (mask > 0).to(values.dtype)


def of_neighbours(weight: Tensor | None, axis: int) -> Tensor | None:
    """The weight of pairs of neighbours along ``axis``, the product of the two voxels': one less along that axis."""
    if weight is None:
        return None
    pairs = weight.shape[axis] - 1
    return weight.narrow(axis, 0, pairs) * weight.narrow(axis, 1, pairs)
