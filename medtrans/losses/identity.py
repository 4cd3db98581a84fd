"""Identity: a generator leaves an image alone that is already of the domain it translates to."""

from __future__ import annotations

from medtrans.losses.derived import _OfDerived
from medtrans.losses.observed import Observed


class Identity(_OfDerived):
    """d(G(x), x) for a target image x, by default the mean of |G(x) − x| (CycleGAN, Zhu 2017, sec. 5.2, half of λ).

    It keeps the generator from shifting intensities for no reason. Source and target have the same channels.

    Args:
        weight: factor in the generator's total.
        distance: any loss term between two images; its own weight multiplies. L1 by default.
    """

    name = "kept"

    def wanted(self, candidate: Observed, target: Observed) -> Observed:
        """The target image that went in."""
        return target
