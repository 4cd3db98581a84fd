"""Progress of training: a bar on a terminal, plain lines in a log, with every loss, the rate and the time left."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

from ignite.engine import Engine, Events
from tqdm import tqdm

from medtrans.progress import on_terminal, time_left

logger = logging.getLogger(__name__)


def _losses(engine: Engine) -> dict[str, str]:
    """The last batch's losses, short enough for a line."""
    return {name: f"{value:.3g}" for name, value in cast("list", engine.state.output)[0].items()}


class TrainingProgress:
    """Shows epoch, step, rate, time left in the run and every loss by name. Attach to the trainer.

    Args:
        every: seconds between two lines in a log.
    """

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self.bar: tqdm | None = None
        self.started = self.told = 0.0
        self.first = self.length = self.total = 0

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``; only the first process of several shows anything."""
        if engine.state.rank != 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._show)
        engine.add_event_handler(Events.EPOCH_COMPLETED | Events.EXCEPTION_RAISED, self._close)

    def _start(self, engine: Engine) -> None:
        self.started, self.first, self.told = time.monotonic(), engine.state.iteration, 0.0
        self.length = int(engine.state.epoch_length or 1)
        self.total = self.length * int(engine.state.max_epochs or 1)

    def _open(self, engine: Engine) -> None:
        if on_terminal():
            state = engine.state
            done = state.iteration % self.length
            name = f"epoch {state.epoch}/{state.max_epochs}"
            self.bar = tqdm(desc=name, total=self.length, initial=done, unit="step", dynamic_ncols=True)

    def _show(self, engine: Engine) -> None:
        if self.bar is not None:
            self.bar.set_postfix({"run": self._left(engine), **_losses(engine)}, refresh=False)
            self.bar.update()
            return
        now, state = time.monotonic(), engine.state
        step = (state.iteration - 1) % self.length + 1
        if now - self.told >= self.every or state.iteration == self.total:
            self.told = now
            losses = " ".join(f"{name} {value}" for name, value in _losses(engine).items())
            logger.info(
                "epoch %d/%d step %d/%d, %s: %s",
                *(state.epoch, state.max_epochs, step, self.length, self._left(engine), losses),
            )

    def _left(self, engine: Engine) -> str:
        done, total = engine.state.iteration - self.first, self.total - self.first
        return time_left(done, total, time.monotonic() - self.started)

    def _close(self, engine: Engine, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
