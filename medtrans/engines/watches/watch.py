"""What every watch is: values of each step, and what looks wrong after an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ignite.engine import Engine
from torch import Tensor

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer


class Watch:
    """Looks at what a training step or a validation computes anyway; no network is run for it.

    A new watch is one new file in this folder; :class:`medtrans.engines.Watching` finds it by itself.

    Attributes:
        name: what stop rules and state call it.
        epochs: how many epochs in a row something has to look wrong before it is said.
        evaluator: the validation that is followed, None where there is none.
    """

    name: ClassVar[str]
    epochs: int = 3
    evaluator: Engine | None = None

    def attach(self, trainer: TranslationTrainer, evaluator: Engine | None) -> None:
        """Follow a training and, where there is one, its validation."""
        self.evaluator = evaluator

    def validated(self, metric: str, otherwise: float) -> float:
        """A metric of the last validation, or ``otherwise`` where it has none of that name."""
        return otherwise if self.evaluator is None else float(self.evaluator.state.metrics.get(metric, otherwise))

    def values(self) -> dict[str, Tensor | float]:
        """Column -> value of the step that has just ended; the same columns in every step."""
        return {}

    def signs(self, epoch: int) -> dict[str, str]:
        """What looks wrong at the end of ``epoch``: name of the sign -> one sentence with figures, without a full stop.

        Called once an epoch, after its validation.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What must survive a resume; tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
