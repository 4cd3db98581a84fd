import logging
import os
import time

import pytest

from medtrans import InputError
from medtrans.jobs import local_workers, reason, run_jobs


def halve(number):
    """Half of an even number; the process it was computed in."""
    if number % 2:
        raise InputError(f"number {number}", "is odd", "Give an even one")
    time.sleep(0.05)
    return number // 2, os.getpid()


def die(number):
    """Kill the whole worker process for one job, as running out of memory does."""
    if number == 1:
        os._exit(9)
    return number


def wait(seconds):
    """Work for a while."""
    time.sleep(seconds)
    return seconds


def outcomes(**options):
    return dict(run_jobs(halve, [0, 1, 2, 3, 4], **options))


def check(results):
    assert {job: result[0] for job, result in results.items() if job % 2 == 0} == {0: 0, 2: 1, 4: 2}
    assert reason(results[1]) == "number 1: is odd. Give an even one."
    assert isinstance(results[3], InputError)


def test_one_worker_stays_in_this_process_and_failures_do_not_stop_it():
    results = outcomes(workers=1)
    check(results)
    assert results[0][1] == os.getpid()


@pytest.mark.slow
def test_local_workers_are_other_processes():
    results = outcomes(workers=2)
    check(results)
    assert os.getpid() not in {result[1] for job, result in results.items() if job % 2 == 0}


def test_a_scheduler_of_its_own_is_used_and_left_running():
    from distributed import Client, LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        check(outcomes(scheduler=cluster.scheduler_address))
        with Client(cluster) as client:
            assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.slow
def test_a_killed_worker_fails_its_job_and_the_rest_goes_on():
    results = dict(run_jobs(die, [0, 1, 2], workers=2))
    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], Exception)
    assert "Killed" in reason(results[1])


@pytest.mark.slow
def test_an_interrupted_run_says_nothing_of_the_workers_it_kills(caplog):
    results = run_jobs(wait, [0, 600, 600], workers=2)
    assert next(results) == (0, 0)
    results.close()
    assert not caplog.text
    assert logging.getLogger("distributed.nanny").isEnabledFor(logging.WARNING)  # again


def test_a_scheduler_that_does_not_answer_is_bad_input(monkeypatch):
    monkeypatch.setattr("medtrans.jobs.ANSWER_SECONDS", 1)
    with pytest.raises(InputError, match="does not answer"):
        list(run_jobs(halve, [0], scheduler="tcp://127.0.0.1:9"))


def test_other_exceptions_give_a_reason_in_one_line():
    assert reason(ValueError("two\nlines")) == "ValueError: two lines"


def test_workers_are_bounded_by_jobs_cores_and_memory(monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 16)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 40e9)
    assert [local_workers(jobs) for jobs in (0, 1, 2, 5, 500)] == [1, 1, 1, 5, 10]
    assert [local_workers(jobs, 3) for jobs in (0, 2, 9)] == [1, 2, 3]
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", 1e9)
    assert local_workers(500) == 1
