"""Gradient difference: edges of the output are as steep as the target's (the review's L4)."""

from __future__ import annotations

import torch
from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.averages import inside_body, of_neighbours, weighted_mean
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class GradientDifference(LossTerm):
    """Σ_a mean_v ||∂_a G(y)|_v − |∂_a x|_v|^p over the axes a, ∂_a the difference of neighbours (Mathieu 2016).

    Blurred edges cost, shifts of intensity do not: it sharpens an L1 or L2 loss, and cannot stand alone. p = 2 is the
    form of synthetic CT (Nie 2018).

    Args:
        weight: factor in the generator's total.
        power: p, 1 or 2.
        masked: the mean over pairs of neighbours that both lie in the body.
    """

    def __init__(self, weight: float = 1.0, power: int = 1, masked: bool = False) -> None:
        super().__init__(weight)
        if power not in (1, 2):
            raise InputError(f"gradient difference power {power}", "is unknown", "Use 1 or 2")
        self.power, self.masked = power, masked

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The sum over the axes; 0 for identical images, and for images that differ by a constant."""
        found, wanted = candidate.image, target.image
        inside = inside_body(target.mask, found, "GradientDifference") if self.masked else None
        total = found.new_zeros(())
        for axis in range(2, found.ndim):
            steepness = [torch.diff(image, dim=axis).abs() for image in (found, wanted)]
            difference = (steepness[0] - steepness[1]).abs() ** self.power
            total = total + weighted_mean(difference, of_neighbours(inside, axis))
        return total
