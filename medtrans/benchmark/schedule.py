"""Runs in parallel: one a GPU, or as many as wanted on the CPU; a run that fails does not stop the others."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from medtrans.benchmark.children import Children
from medtrans.benchmark.run import Run
from medtrans.jobs import reason
from medtrans.progress import on_terminal

logger = logging.getLogger(__name__)
Place = dict[str, str]
GLANCE = 1.0  # seconds between two looks at what the runs have written
BAR = "{desc}: {percentage:3.0f}%|{bar}| {postfix}"
TOLD = 30.0  # seconds between two lines in a log


def places(workers: int | None, gpus: Sequence[str], cores: int, environment: Mapping[str, str]) -> list[Place]:
    """Where runs can work at the same time, each as the environment variables of its commands.

    Args:
        workers: how many at once; None: one a GPU, or one on the CPU.
        gpus: as ``CUDA_VISIBLE_DEVICES`` names them; with more workers than GPUs several share one.
        cores: of this machine, shared by the workers.
        environment: in which ``OMP_NUM_THREADS`` goes before an equal share of the cores.
    """
    count = workers or max(1, len(gpus))
    threads = environment.get("OMP_NUM_THREADS") or str(max(1, cores // count))
    shared = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return [shared | ({"CUDA_VISIBLE_DEVICES": gpus[n % len(gpus)]} if gpus else {}) for n in range(count)]


def places_here(workers: int | None = None) -> list[Place]:
    """:func:`places` of this machine."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    named = [name.strip() for name in visible.split(",")][:count] if visible else [str(n) for n in range(count)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return places(workers, named, cores, os.environ)


def carry_out(runs: Sequence[Run], where: Sequence[Place]) -> list[dict[str, Any]]:
    """Do what is left of every run, as many at once as there are places, in the order given.

    Interrupted (Ctrl-C, SIGTERM), it ends what is running; all of it goes on when it is called again.

    Returns:
        A result a run, see :meth:`medtrans.benchmark.run.Run.result`; an unforeseen error is a failed run.
    """
    left = [run for run in runs if not run.is_done()]
    if len(left) < len(runs):
        logger.info("%d of %d runs are done already", len(runs) - len(left), len(runs))
    free: queue.Queue[Place] = queue.Queue()
    for place in where:
        free.put(place)
    children = Children()

    def work(run: Run) -> dict[str, Any]:
        place = free.get()
        try:
            return run.carry_out(children, place)
        except Exception as error:  # one line in the table, as for every other reason
            logger.debug("%s", run.folder, exc_info=True)
            return run.fail(reason(error))
        finally:
            free.put(place)

    with _terminated_like_interrupted(), ThreadPoolExecutor(max(1, len(where))) as pool:
        try:
            pending = {pool.submit(work, run): run for run in left}
            _follow(pending, runs)
        except BaseException:
            children.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return [run.result() for run in runs]


def _follow(pending: dict[Future, Run], runs: Sequence[Run]) -> None:
    """Show how far it is until every run has ended, and tell of each that does."""
    bar = tqdm(total=1.0, desc="benchmark", bar_format=BAR, dynamic_ncols=True) if on_terminal() else None
    start = told = time.monotonic()
    before = sum(run.share_done() for run in runs) / max(1, len(runs))
    open_ones = set(pending)
    while open_ones:
        ended, open_ones = wait(open_ones, timeout=GLANCE, return_when=FIRST_COMPLETED)
        for future in ended:
            _tell(pending[future], future.result())
        share = sum(run.share_done() for run in runs) / len(runs)
        now = time.monotonic()
        line = f"{sum(run.is_done() for run in runs)}/{len(runs)} runs, {left(share, before, now - start)}"
        if bar is not None:
            bar.n = share
            bar.set_postfix_str(line)
        elif now - told >= TOLD:
            told = now
            logger.info("benchmark: %d %%, %s", 100 * share, line)
    if bar is not None:
        bar.close()


def left(share: float, before: float, seconds: float) -> str:
    """``"12:05 left"`` when ``seconds`` have brought the work from ``before`` to ``share`` (0 to 1)."""
    if share <= before:
        return "starting"
    return f"{tqdm.format_interval(int(seconds * (1 - share) / (share - before)))} left"


def _tell(run: Run, result: Mapping[str, Any]) -> None:
    name = f"{run.row.name} (seed {run.seed})"
    if result["status"] == "failed":
        logger.error("failed: %s: %s; see %s", name, result["reason"], run.folder / "log.txt")
    elif result["status"] == "done":
        logger.info("done: %s in %s", name, run.folder)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM inside the block raises, as Ctrl-C does, so that the commands are ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before: Callable | int | None = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
