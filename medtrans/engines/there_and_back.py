"""Validation in both directions, and back again: for methods that translate both ways, with or without pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode
from torch import Tensor, nn

from medtrans.engines.batches import source_and_target

Translate = Callable[[Tensor], Tensor]


class ThereAndBack:
    """The ``iteration_update`` of MONAI's evaluators that translates source and target, and both results back.

    The output holds ``image`` (the source), ``pred`` (its translation), ``cycled`` (that translated back), ``label``
    (the target), ``pred_source`` and ``cycled_label``; postprocessing sees them as usual.

    Args:
        to_target, to_source: the two directions, image -> image; those that are networks are put into evaluation mode.
    """

    def __init__(self, to_target: Translate, to_source: Translate) -> None:
        self.to_target, self.to_source = to_target, to_source
        self.networks = [f for f in (to_target, to_source) if isinstance(f, nn.Module)]

    def __call__(self, engine: Evaluator, batchdata: dict[str, Any]) -> Any:
        """Translate a batch."""
        source, target = source_and_target(batchdata, engine.state.device, engine.non_blocking)
        with eval_mode(*self.networks):
            there, other = self.to_target(source), self.to_source(target)
            engine.state.output = {
                "image": source,
                "label": target,
                "pred": there,
                "cycled": self.to_source(there),
                "pred_source": other,
                "cycled_label": self.to_target(other),
            }
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output
