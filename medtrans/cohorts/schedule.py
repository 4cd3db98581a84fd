"""Many independent jobs: here, over local processes, or on a Dask cluster; a failing job never stops the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from medtrans.errors import InputError, input_error_behind

Job = TypeVar("Job")
Result = TypeVar("Result")
ANSWER_SECONDS = 20
logger = logging.getLogger(__name__)


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None, scheduler: str | None = None
) -> Iterator[tuple[Job, Result | Exception]]:
    """Yield every job with its result, or with the exception that it ended in, as they finish.

    Args:
        work: a function of one job; for several workers both must be picklable.
        jobs: what to do.
        workers: local processes; None takes one a core but no more than jobs, 1 works in this process.
        scheduler: address of a Dask scheduler (``tcp://host:8786``) whose workers see the same files.

    Raises:
        InputError: the scheduler does not answer.
    """
    workers = max(1, min(workers or os.cpu_count() or 1, len(jobs)))
    if scheduler is None and workers == 1:
        for job in jobs:
            yield job, _outcome(work, job)
    else:
        yield from _distributed(work, jobs, workers, scheduler)


def reason(error: BaseException) -> str:
    """Why a job failed, in one line."""
    known = input_error_behind(error)
    return str(known) if known else " ".join(f"{type(error).__name__}: {error}".split())


def _outcome(work: Callable[[Job], Result], job: Job) -> Result | Exception:
    try:
        return work(job)
    except Exception as error:
        logger.debug("a job failed", exc_info=error)
        return error


def _distributed(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, scheduler: str | None
) -> Iterator[tuple[Job, Result | Exception]]:
    """The jobs over Dask; exceptions come back as results, a killed worker's job as Dask's exception."""
    from distributed import Client, LocalCluster, as_completed

    cluster: Any = None
    if scheduler is None:
        # No memory limit: Dask would kill a worker that needs a moment's peak; the number of workers bounds it.
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        )
    try:
        with _client(Client, cluster, scheduler) as client:
            futures = client.map(_outcome, [work] * len(jobs), list(jobs), pure=False)
            job_of = {future.key: job for future, job in zip(futures, jobs, strict=True)}
            for future in as_completed(futures):
                error = future.exception() if future.status != "finished" else None
                yield job_of[future.key], error or future.result()
                future.release()
    finally:
        if cluster is not None:
            cluster.close()


def _client(client_class: Any, cluster: Any, scheduler: str | None) -> Any:
    try:
        return client_class(cluster if cluster is not None else scheduler, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"scheduler {scheduler}", f"does not answer ({error})", "Start it, or leave --scheduler out"
        ) from error
