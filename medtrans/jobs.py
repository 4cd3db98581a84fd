"""Many independent jobs: here, over local processes, or on a Dask cluster; a failing job never stops the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from medtrans.errors import InputError, input_error_behind

Job = TypeVar("Job")
Result = TypeVar("Result")
ANSWER_SECONDS = 20
BYTES_A_JOB = 4e9  # two modalities of 512 x 512 x 300 voxels with their copies
# Dask's own, without its MALLOC_TRIM_THRESHOLD_: with that, every array is mapped and cleared anew, half as long again.
ENVIRONMENT = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
logger = logging.getLogger(__name__)


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None, scheduler: str | None = None
) -> Iterator[tuple[Job, Result | Exception]]:
    """Yield every job with its result, or with the exception that it ended in, as they finish.

    Args:
        work: a function of one job; for several workers both must be picklable.
        jobs: what to do.
        workers: local processes, see :func:`local_workers`; 1 works in this process.
        scheduler: address of a Dask scheduler (``tcp://host:8786``) whose workers see the same files.

    Raises:
        InputError: the scheduler does not answer.
    """
    workers = local_workers(len(jobs), workers)
    if scheduler is None and workers == 1:
        for job in jobs:
            yield job, _outcome(work, job)
    else:
        yield from _distributed(work, jobs, workers, scheduler)


def local_workers(jobs: int, wanted: int | None = None) -> int:
    """How many local processes: what is wanted, else one a core as far as memory goes, and never more than jobs.

    One or two jobs stay in this process unless more is wanted: a process takes about as long to start as a case.
    """
    if wanted is None:
        from dask.system import CPU_COUNT  # of the container, where there is one
        from distributed.system import MEMORY_LIMIT

        wanted = 1 if jobs <= 2 else min(CPU_COUNT, int(MEMORY_LIMIT // BYTES_A_JOB))
    return max(1, min(wanted, jobs))


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
    import dask
    from distributed import Client, LocalCluster, as_completed

    logging.getLogger("distributed").setLevel(logging.WARNING)  # importing it had set INFO
    cluster: Any = None
    if scheduler is None:
        # No memory limit: Dask would kill a worker that needs a moment's peak; the number of workers bounds it.
        with dask.config.set({"distributed.nanny.pre-spawn-environ": ENVIRONMENT}):
            cluster = LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit=0
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
            with _unsaid("distributed.nanny"):  # results are in, or unwanted: a worker slow to end is killed, rightly
                cluster.close()


@contextmanager
def _unsaid(name: str) -> Iterator[None]:
    """Without the warnings of a logger."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _client(client_class: Any, cluster: Any, scheduler: str | None) -> Any:
    try:
        return client_class(cluster if cluster is not None else scheduler, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"scheduler {scheduler}", f"does not answer ({error})", "Start it, or leave --scheduler out"
        ) from error
