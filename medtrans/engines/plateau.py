"""Ends a training whose validation no longer gets better: ignite's early stopping, with a memory over resumes."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping

from medtrans.engines.distributed import as_the_first_process

logger = logging.getLogger(__name__)


class StopOnPlateau:
    """Ends the run, as if it had come to its last epoch, when the key metric has not risen. Attach to the trainer.

    In distributed training the first process's metric counts.

    Args:
        evaluator: the validation engine; its key metric is better when it is larger.
        patience: validations without a better one after which the run ends.
        threshold: how much larger counts as better.
    """

    def __init__(self, evaluator: Engine, patience: int, threshold: float = 0.0) -> None:
        self.evaluator, self.patience, self.threshold = evaluator, int(patience), threshold
        self.rule: EarlyStopping | None = None

    def attach(self, engine: Engine) -> None:
        """Follow the validation of a trainer."""
        self.rule = EarlyStopping(self.patience, self._score, engine, self.threshold)
        self.evaluator.add_event_handler(Events.COMPLETED, self._look)

    def _score(self, evaluator: Engine) -> float:
        return as_the_first_process(float(evaluator.state.metrics[evaluator.state.key_metric_name]))

    def _look(self, evaluator: Engine) -> None:
        assert self.rule is not None
        self.rule(evaluator)
        if self.rule.counter >= self.patience and evaluator.state.rank == 0:
            name = evaluator.state.key_metric_name
            logger.info("the run ends: %s has not risen for %d validations", name, self.rule.counter)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far and how long ago it was."""
        return {"counter": self.rule.counter, "best": self.rule.best_score} if self.rule is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self.rule is not None and state:
            self.rule.counter, self.rule.best_score = state["counter"], state["best"]
