"""Progress of long work: a bar with rate and time left on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


def on_terminal() -> bool:
    """Whether a bar can be drawn (standard error is a terminal)."""
    return sys.stderr.isatty()


def time_left(done: int, total: int, seconds: float) -> str:
    """``"12.5/s, 1:40 left"`` from the work done so far; either side may be unknown (0)."""
    if not done or not seconds:
        return "starting"
    rate = done / seconds
    pace = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
    return f"{pace}, {tqdm.format_interval(max(total - done, 0) / rate)} left"


def progress(
    items: Iterable[Item], description: str, total: int | None = None, unit: str = "case", every: float = 10.0
) -> Iterator[Item]:
    """Iterate over ``items``, showing how far it is.

    Args:
        items: what to go through.
        description: what is being done, shown in front.
        total: number of items, where ``items`` has no length.
        unit: the word for one item.
        every: seconds between two lines in a log.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    if on_terminal():
        yield from tqdm(items, desc=description, total=total or None, unit=unit, dynamic_ncols=True)
        return
    start = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= every or done == total:
            logger.info("%s: %d/%s %s, %s", description, done, total or "?", unit, time_left(done, total, now - start))
            told = now
