"""Anatomy drift: the output says less and less about the patient it was made from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine

from medtrans.engines.watches.watch import Watch

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer


class Drift(Watch):
    """The sign ``drift``: the validation's :class:`medtrans.engines.SourceInformation` has fallen.

    It is compared with its highest value so far in this run.

    Args:
        fall: the share of the highest value below which it is a sign.
        metric: name of the metric in the validation; without it there is nothing to see.
        epochs: how many in a row, see :class:`Watch`.
    """

    name = "drift"

    def __init__(self, fall: float = 0.7, metric: str = "source_information", epochs: int = 2) -> None:
        self.fall, self.metric, self.epochs = fall, metric, epochs
        self.highest = 0.0
        self.evaluator: Engine | None = None

    def attach(self, trainer: TranslationTrainer, evaluator: Engine | None) -> None:
        """Follow the validation."""
        self.evaluator = evaluator

    def signs(self, epoch: int) -> dict[str, str]:
        """The sign, if the last validation shows it."""
        metrics = self.evaluator.state.metrics if self.evaluator is not None else {}
        found = float(metrics.get(self.metric, math.nan))
        if math.isnan(found):
            return {}
        self.highest = max(self.highest, found)
        if found >= self.fall * self.highest:
            return {}
        told = f"source and synthetic image share {found:.2f} nats, at best it was {self.highest:.2f}"
        return {"drift": f"anatomy drift? {told}"}

    def state_dict(self) -> dict[str, Any]:
        """The highest value so far."""
        return {"highest": self.highest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.highest = float(state["highest"])
