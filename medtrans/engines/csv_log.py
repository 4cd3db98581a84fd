"""Losses and validation metrics as CSV, one row a step, that a resumed run continues without repeating a row."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TextIO, cast

from ignite.engine import Engine, Events

from medtrans.files import written_whole


class CsvLog:
    """Writes what an engine says of itself to a CSV file. Attach to a trainer or to an evaluator.

    A trainer writes ``epoch, iteration, <losses>`` after each iteration; an evaluator ``epoch, <metrics>`` after each
    validation. Rows that a killed run wrote beyond its last checkpoint are dropped when it goes on.

    Args:
        path: the file; its folder is made.
        every: iterations between two rows of a trainer.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        self.path, self.every = Path(path), every
        self.file: TextIO | None = None

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``; a trainer is an engine whose output holds losses."""
        if engine.state.rank != 0:
            return
        if engine.state.key_metric_name is None:
            engine.add_event_handler(Events.STARTED, lambda e: self._keep_rows("iteration", e.state.iteration))
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self._write_losses)
            engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, lambda e, *_: self._close())
        else:
            engine.add_event_handler(Events.STARTED, lambda e: self._keep_rows("epoch", e.state.epoch))
            engine.add_event_handler(Events.COMPLETED, self._write_metrics)

    def _write_losses(self, engine: Engine) -> None:
        state = engine.state
        self._write({"epoch": state.epoch, "iteration": state.iteration, **cast("list", state.output)[0]})

    def _write_metrics(self, engine: Engine) -> None:
        self._write({"epoch": engine.state.epoch, **engine.state.metrics})
        self._close()

    def _write(self, row: dict[str, float]) -> None:
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.is_file()
            self.file = self.path.open("a", newline="", buffering=1)
            if new:
                csv.writer(self.file).writerow(row)
        csv.writer(self.file).writerow(f"{value:.6g}" if isinstance(value, float) else value for value in row.values())

    def _close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    def _keep_rows(self, column: str, last: int) -> None:
        """Drop the rows of an earlier run that lie after ``last``; a new run starts a new file."""
        self._close()
        if not self.path.is_file():
            return
        if last <= 0:
            self.path.unlink()
            return
        with self.path.open(newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
        place = head.index(column) if column in head else 0
        with written_whole(self.path) as temporary, temporary.open("w", newline="") as file:
            whole = [row for row in rows if len(row) == len(head) and int(row[place]) <= last]
            csv.writer(file).writerows([head, *whole])
