"""Cycle consistency: an image translated there and back is the image it was (the review's L3)."""

from __future__ import annotations

from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.pixel import L1
from medtrans.losses.terms import LossTerm


class Cycle(LossTerm):
    """d(F(G(y)), y), by default the mean of |F(G(y)) − y| (CycleGAN, Zhu 2017, eq. 2, λ = 10).

    Needs a method that translates back and hands the result over as ``Observed(…, cycled=Observed(F(G(y))))``; the
    paired ones do not. With a distance of features it is Cycle-MedGAN's perceptual or style cycle loss (its eq. 3-5).

    Args:
        weight: factor in the generator's total.
        distance: any loss term between two images, such as :class:`L1`, :class:`SSIM`, :class:`Style`; its own weight
            multiplies.
    """

    def __init__(self, weight: float = 1.0, distance: LossTerm | None = None) -> None:
        super().__init__(weight)
        self.distance = distance or L1()

    def prepare(self) -> None:
        """As the distance is prepared."""
        self.distance.prepare()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The distance of the reconstruction from the source; the target is not looked at."""
        if candidate.cycled is None:
            raise ValueError("a cycle loss needs the image translated back, but the method does not translate back")
        return self.distance.weight * self.distance(candidate.cycled, candidate.original())
