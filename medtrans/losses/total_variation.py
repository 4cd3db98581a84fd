"""Total variation: neighbouring voxels of the output differ little, along rows and along columns (the review's L12)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.averages import inside_body, of_neighbours, weighted_mean
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class TotalVariation(LossTerm):
    """Σ_a λ_a · mean_v |G(y)_{v + e_a} − G(y)_v|^p over the axes a: noise costs, flat regions do not.

    p = 1 is the anisotropic total variation (Rudin 1992), which keeps edges; p = 2 the squared form of Fila-sGAN (Zhao
    2018), which rounds them. The target is not looked at.

    Args:
        weight: factor in the generator's total.
        power: p, 1 or 2.
        axes: λ_a for each spatial axis, rows and columns (and slices); None weighs all with 1.
        masked: the mean over pairs of neighbours that both lie in the body.
    """

    def __init__(
        self, weight: float = 1.0, power: int = 1, axes: Sequence[float] | None = None, masked: bool = False
    ) -> None:
        super().__init__(weight)
        if power not in (1, 2):
            raise InputError(f"total variation power {power}", "is unknown", "Use 1 or 2")
        self.power, self.masked = power, masked
        self.axes = None if axes is None else tuple(float(factor) for factor in axes)

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The weighted sum over the axes; 0 for a constant image."""
        image = candidate.image
        factors = self.axes or (1.0,) * (image.ndim - 2)
        if len(factors) != image.ndim - 2:
            raise ValueError(f"axes has {len(factors)} factors for {image.ndim - 2} spatial axes")
        inside = inside_body(target.mask, image, "TotalVariation") if self.masked else None
        total = image.new_zeros(())
        for axis, factor in enumerate(factors, start=2):
            variation = torch.diff(image, dim=axis).abs() ** self.power
            total = total + factor * weighted_mean(variation, of_neighbours(inside, axis))
        return total
