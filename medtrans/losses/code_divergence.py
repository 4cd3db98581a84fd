"""The divergence of a variational autoencoder's codes from their prior."""

from __future__ import annotations

from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class CodeDivergence(LossTerm):
    """KL(N(μ, I) ‖ N(0, I)) up to a factor: the mean of μ² over all numbers of the code (UNIT, Liu 2017, eq. 3 and 5).

    UNIT's codes have unit variance, so that ½ Σ μ² is left of the divergence; like the public implementations this
    takes the mean in place of half the sum.

    Args:
        weight: factor in the generator's total.
        cycled: of the code of the translated image instead of the source's: the divergence of the cycle.
    """

    def __init__(self, weight: float = 1.0, cycled: bool = False) -> None:
        super().__init__(weight)
        self.name = "cycled_code" if cycled else "code"

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """0 for codes that are all 0."""
        return candidate.derived(self.name).image.square().mean()
