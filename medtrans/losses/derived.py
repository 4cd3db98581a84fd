"""What losses share that compare an image the method derives from another one."""

from __future__ import annotations

from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.pixel import L1
from medtrans.losses.terms import LossTerm


class _OfDerived(LossTerm):
    """A distance between a derived image and the one it should be.

    Args:
        weight: factor in the generator's total.
        distance: any loss term between two images, such as :class:`L1`, :class:`SSIM`, :class:`Style`; its own weight
            multiplies. L1 by default.
    """

    name: str

    def __init__(self, weight: float = 1.0, distance: LossTerm | None = None) -> None:
        super().__init__(weight)
        self.distance = distance or L1()

    def prepare(self) -> None:
        """As the distance is prepared."""
        self.distance.prepare()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The distance, times its own weight; 0 where the derived image is what it should be."""
        return self.distance.weight * self.distance(candidate.derived(self.name), self.wanted(candidate, target))

    def wanted(self, candidate: Observed, target: Observed) -> Observed:
        """What the derived image should be; the source by default."""
        return candidate.original()
