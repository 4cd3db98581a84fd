"""The end of training after so many steps, or so many minutes of them, whatever the number of epochs."""

from __future__ import annotations

from ignite.engine import Engine, Events

from medtrans.engines.step_log import StepLog


class StepBudget:
    """Ends the run at the step that uses the budget up; that epoch is then the last, and is validated and saved.

    Attach it after the log. A run that is started again with its budget used up ends at once.

    Args:
        log: counts the seconds, those before a resume included.
        steps: iterations in all; None: no limit.
        minutes: of training steps in all, without data loading and validation; None: no limit.
    """

    def __init__(self, log: StepLog, steps: int | None = None, minutes: float | None = None) -> None:
        if (steps is not None and steps < 1) or (minutes is not None and minutes <= 0):
            raise ValueError(f"a budget is more than nothing, got {steps} steps and {minutes} minutes")
        self.log, self.steps, self.minutes = log, steps, minutes

    def attach(self, engine: Engine) -> None:
        """Watch a trainer."""
        engine.add_event_handler(Events.STARTED, self._end_at_once)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._end_epoch)

    def used_up(self, iteration: int) -> bool:
        """Whether no further step may be taken after ``iteration`` of them."""
        by_steps = self.steps is not None and iteration >= self.steps
        return by_steps or (self.minutes is not None and self.log.seconds >= 60 * self.minutes)

    def _end_at_once(self, engine: Engine) -> None:
        if self.used_up(engine.state.iteration):
            engine.terminate()

    def _end_epoch(self, engine: Engine) -> None:
        if self.used_up(engine.state.iteration):
            engine.state.max_epochs = engine.state.epoch
            engine.terminate_epoch()
