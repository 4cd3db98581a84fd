"""Watching a training: columns beside the losses, a plain warning for each bad sign, and rules that stop the run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from medtrans.engines.distributed import as_the_first_process
from medtrans.engines.watches import Watch, available
from medtrans.errors import InputError, NotFiniteError

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer

logger = logging.getLogger(__name__)


class Watching:
    """Adds what its watches measure to each step's losses, and says once a run what looks wrong. Attach to the trainer.

    Put it before the handlers that write losses down. Nothing is computed twice for it, and it changes no bit of the
    training. A resumed run neither forgets how long a sign has lasted nor repeats what was said.

    Args:
        evaluator: the validation engine, whose metrics some watches read.
        watches: those to use; None takes every watch there is, with its defaults.
        stop_after: sign (or the beginning of one, such as ``discriminator``, or ``any``) -> epochs in a row after which
            the run is stopped, with an error; empty stops nothing. What is not finite stops every run.

    Raises:
        InputError: a rule with less than one epoch.
    """

    def __init__(
        self,
        evaluator: Engine | None = None,
        watches: Sequence[Watch] | None = None,
        stop_after: Mapping[str, int] | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.watches = [watch() for watch in available().values()] if watches is None else list(watches)
        self.stop_after = {sign: int(epochs) for sign, epochs in (stop_after or {}).items()}
        for sign, epochs in self.stop_after.items():
            if epochs < 1:
                raise InputError(f"stop_after {sign} {epochs}", "is not positive", "Give 1 epoch or more")
        self.lasting: dict[str, int] = {}
        self.said: list[str] = []

    def attach(self, engine: TranslationTrainer) -> None:
        """Follow a trainer."""
        for watch in self.watches:
            watch.attach(engine, self.evaluator)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add, engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._judge, engine)

    def _add(self, trainer: TranslationTrainer) -> None:
        values = {name: value for watch in self.watches for name, value in watch.values().items()}
        tensors = {name: value.detach().float() for name, value in values.items() if isinstance(value, Tensor)}
        if tensors:  # one transfer for all of them
            values |= dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True))
        floats = {name: float(value) for name, value in values.items()}
        wrong = [name for name, value in floats.items() if not math.isfinite(value)]
        if wrong and not trainer.grad_scaler.is_enabled():
            where = f"epoch {trainer.state.epoch}, iteration {trainer.state.iteration}"
            remedy = "Lower the learning rate, or train with --precision fp32; the last checkpoint is from before"
            raise NotFiniteError("training", f"{wrong[0]} is not finite in {where}", remedy)
        cast("list[dict[str, float]]", trainer.state.output)[0].update(floats)

    def _judge(self, trainer: TranslationTrainer) -> None:
        epoch = trainer.state.epoch
        signs = {name: (watch, text) for watch in self.watches for name, text in watch.signs(epoch).items()}
        self.lasting = {name: self.lasting.get(name, 0) + 1 for name in signs}
        for name, (watch, text) in signs.items():
            if self.lasting[name] >= watch.epochs and name not in self.said:
                self.said.append(name)
                if trainer.state.rank == 0:
                    logger.warning("warning: epoch %d: %s (docs/watching-a-gan.md)", epoch, text)
        if self.stop_after and (
            reason := as_the_first_process(self._reason({n: text for n, (_, text) in signs.items()}))
        ):
            trainer.stop(reason)

    def _reason(self, signs: Mapping[str, str]) -> str:
        """Why the rules want the run to stop; empty where they do not."""
        for name, text in signs.items():
            limits = [n for sign, n in self.stop_after.items() if sign == "any" or name.startswith(sign)]
            if limits and self.lasting[name] >= min(limits):
                return f"{text}, for {self.lasting[name]} epoch{'s' * (self.lasting[name] > 1)}"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """What has been said, how long signs have lasted, and what the watches keep."""
        watches = {watch.name: watch.state_dict() for watch in self.watches}
        return {"said": list(self.said), "lasting": dict(self.lasting), "watches": watches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; a watch that is new starts anew."""
        self.said, self.lasting = list(state["said"]), dict(state["lasting"])
        for watch in self.watches:
            if kept := state["watches"].get(watch.name):
                watch.load_state_dict(kept)
