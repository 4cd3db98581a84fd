"""How strong the gradients are that each optimiser steps by, and whether they are numbers at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import Tensor

from medtrans.engines.watches.watch import Watch

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer


class GradientNorms(Watch):
    """Column ``gradient_<optimiser>``: the Euclidean norm over all its parameters, before the step.

    The mean over the steps of one iteration where there are several. With fp16 it is the norm without the loss scale;
    an infinite one is a step that the scaler skips.
    """

    name = "gradients"

    def __init__(self) -> None:
        self.norms: dict[str, list[Tensor]] = {}

    def attach(self, trainer: TranslationTrainer, evaluator: Engine | None) -> None:
        """Look at the gradients after each backward pass."""
        self.norms = {name: [] for name in trainer.method.optimizers}
        trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._measure, trainer)

    def _measure(self, trainer: TranslationTrainer) -> None:
        groups = trainer.method.optimizers[trainer.stepping].param_groups
        gradients = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        if gradients:
            self.norms[trainer.stepping].append(torch.nn.utils.get_total_norm(gradients))

    def values(self) -> dict[str, Tensor | float]:
        """The norms since the last call; 0 for an optimiser that did not step."""
        found: dict[str, Tensor | float] = {
            f"gradient_{name}": torch.stack(norms).mean() if norms else 0.0 for name, norms in self.norms.items()
        }
        self.norms = {name: [] for name in self.norms}
        return found
