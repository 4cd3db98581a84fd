"""Self-regularisation: the output stays close to the input (the review's L10)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.pixel import L1
from medtrans.losses.terms import LossTerm


class SelfRegularisation(LossTerm):
    """d(G(y), y), by default the mean of |G(y) − y| (SimGAN, Shrivastava 2017, with the identity as features).

    For translations that keep intensities: denoising, artefact removal, a step of CycleGAN's identity loss. Between
    modalities of different contrast it pulls the wrong way.

    Args:
        weight: factor in the generator's total.
        channels: the source's channel for each channel of the output; none takes all, as many as the output has.
        distance: any loss term between two images; its own weight multiplies. L1 by default.
    """

    def __init__(self, weight: float = 1.0, channels: Sequence[int] = (), distance: LossTerm | None = None) -> None:
        super().__init__(weight)
        self.channels = tuple(int(channel) for channel in channels)
        self.distance = distance or L1()

    def prepare(self) -> None:
        """As the distance is prepared."""
        self.distance.prepare()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The distance of the candidate from its source; 0 for an unchanged image."""
        # The target lives as long as the batch: what a network finds in their common source is kept there.
        holder = target if target.source is candidate.source else candidate
        original = holder.original(self.channels)
        if original.image.shape[1] != candidate.image.shape[1]:
            raise ValueError(
                f"self-regularisation compares {candidate.image.shape[1]} output channel(s) with "
                f"{original.image.shape[1]} of the source: name the source's in `channels`"
            )
        return self.distance.weight * self.distance(candidate, original)
