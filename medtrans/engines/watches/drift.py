"""Anatomy drift: the output says less and less about the patient it was made from."""

from __future__ import annotations

import math
from typing import Any

from medtrans.engines.watches.watch import Watch


class Drift(Watch):
    """The sign ``drift``: the validation's :class:`medtrans.engines.SourceInformation` is low, or has fallen.

    It is compared with its highest value so far in this run and, as far as the validation has them, with what the
    source shares with the real target (``pair_information``) or with an image of somebody else
    (``unrelated_information``).

    Args:
        fall: the share of the highest value below which it is a sign.
        least: the share of ``pair_information`` below which it is a sign.
        more: the multiple of ``unrelated_information`` below which it is a sign.
        metric: name of the metric in the validation; without it there is nothing to see.
        epochs: how many in a row, see :class:`Watch`.
    """

    name = "drift"

    def __init__(
        self,
        fall: float = 0.5,
        least: float = 0.15,
        more: float = 1.5,
        metric: str = "source_information",
        epochs: int = 2,
    ) -> None:
        self.fall, self.least, self.more, self.metric, self.epochs = fall, least, more, metric, epochs
        self.highest = 0.0

    def signs(self, epoch: int) -> dict[str, str]:
        """The sign, if the last validation shows it."""
        found = self.validated(self.metric, math.nan)
        if math.isnan(found):
            return {}
        self.highest = max(self.highest, found)
        pair, unrelated = (self.validated(name, 0.0) for name in ("pair_information", "unrelated_information"))
        against = [
            (self.fall * self.highest, f"at best in this run it was {self.highest:.2f}"),
            (self.least * pair, f"source and real target share {pair:.2f}"),
            (self.more * unrelated, f"source and somebody else's target share {unrelated:.2f}"),
        ]
        low = [text for limit, text in against if found < limit]
        return {"drift": f"anatomy drift? Source and synthetic image share {found:.2f} nats; {low[0]}"} if low else {}

    def state_dict(self) -> dict[str, Any]:
        """The highest value so far."""
        return {"highest": self.highest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.highest = float(state["highest"])
