"""Pixel losses: how far the output's intensities are from the target's."""

from __future__ import annotations

from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class L1(LossTerm):
    """Mean absolute difference, over the body where ``masked`` and a mask is there (pix2pix sec. 3.1, λ = 100).

    Args:
        weight: factor in the generator's total.
        masked: average over the voxels inside the mask instead of the whole image.
    """

    def __init__(self, weight: float = 1.0, masked: bool = False) -> None:
        super().__init__(weight)
        self.masked = masked

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """In units of the [-1, 1] scale."""
        difference = (candidate.image - target.image).abs()
        if not self.masked:
            return difference.mean()
        if target.mask is None:
            raise ValueError("a masked L1 needs the body mask, but the data set has none")
        inside = (target.mask > 0).expand_as(difference).flatten(1)
        # A mean over each image's own body, then over the batch: parts of a batch weigh as the whole does.
        return ((difference.flatten(1) * inside).sum(1) / inside.sum(1).clamp(min=1)).mean()
