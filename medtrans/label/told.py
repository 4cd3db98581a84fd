"""What clients are told: the names of files, without the folders of the server."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medtrans.errors import InputError

INSIDE = r"[^/\s'\",;:()]"  # of the name of a file or folder, as a sentence holds it
ABSOLUTE = re.compile(rf"(?<![\w/:.@-])/(?:{INSIDE}+/)*({INSIDE}+)/?")


def without_folders(reason: str, paths: Sequence[str | Path] = ()) -> str:
    """The reason with names alone: where things lie is nobody's business.

    Args:
        reason: one line.
        paths: files and folders that it may name; of other absolute paths, those without spaces are found.
    """
    for path in sorted((str(path) for path in paths), key=len, reverse=True):
        if name := Path(path).name:
            reason = reason.replace(path, name)
    return ABSOLUTE.sub(r"\1", reason)


def refusal(error: InputError, paths: Sequence[str | Path] = ()) -> str:
    """The line of an error, likewise."""
    return without_folders(str(error), [*paths, *([error.subject] if Path(error.subject).is_absolute() else [])])


@contextlib.contextmanager
def logged_without_folders(paths: Sequence[str | Path]) -> Iterator[None]:
    """Within it, what this process logs is told likewise: clients are shown the last lines of a task."""

    def shortened(record: logging.LogRecord) -> bool:
        record.msg, record.args = without_folders(record.getMessage(), paths), ()
        return True

    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(shortened)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(shortened)
