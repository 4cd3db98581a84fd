"""The one error users see: it names what is wrong, where, and what to do about it."""

from __future__ import annotations

import os


class InputError(ValueError):
    """Input that medtrans refuses, told in one line.

    Args:
        subject: the file, folder, case or option at fault, as the user knows it.
        problem: what is wrong with it.
        remedy: what to do about it.
    """

    def __init__(self, subject: str | os.PathLike[str], problem: str = "", remedy: str = "") -> None:
        self.subject, self.problem, self.remedy = str(subject), problem.rstrip("."), remedy.rstrip(".")
        if problem:
            super().__init__(f"{self.subject}: {self.problem}. {self.remedy}.")
        else:  # torch's DataLoader raises a worker's error again with its traceback as the only argument
            last = self.subject.strip().splitlines()[-1]
            super().__init__(last.removeprefix(f"{type(self).__module__}.{type(self).__name__}: "))

    def __reduce__(self):  # keeps its parts when it crosses a process boundary
        return type(self), (self.subject, self.problem, self.remedy)


class CasesFailedError(InputError):
    """A batch run did what it could; some cases failed and stand in its table."""


class TrainingStoppedError(InputError):
    """A rule of the config ended a training that was going wrong; its checkpoint is there."""


class NotFiniteError(TrainingStoppedError, FloatingPointError):
    """A loss is NaN or infinite: nothing that follows would mean anything."""


def input_error_behind(error: BaseException | None) -> InputError | None:
    """The :class:`InputError` that ``error`` is or was raised from, or None."""
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__ or error.__context__
    return None
