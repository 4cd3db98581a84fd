"""Runs in parallel: one a GPU; a failing one does not stop the others, Ctrl-C stops them all."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from medtrans.benchmark.run import Run
from medtrans.benchmark.schedule import carry_out, left, places


def gpus(found):
    return [place.get("CUDA_VISIBLE_DEVICES") for place in found]


def test_a_place_a_gpu_and_the_cores_shared():
    found = places(None, ["0", "1", "GPU-7"], 12, {})
    assert gpus(found) == ["0", "1", "GPU-7"]
    assert {place["OMP_NUM_THREADS"] for place in found} == {"4"}


def test_fewer_workers_than_gpus_use_fewer_and_more_share_them():
    assert gpus(places(1, ["2", "3"], 8, {})) == ["2"]
    assert gpus(places(3, ["2", "3"], 8, {})) == ["2", "3", "2"]


def test_without_a_gpu_there_is_one_worker_or_as_many_as_wanted():
    assert places(None, [], 8, {}) == [{"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "8"}]
    assert [place["OMP_NUM_THREADS"] for place in places(3, [], 8, {})] == ["2", "2", "2"]
    assert places(16, [], 8, {"OMP_NUM_THREADS": "3"})[0]["OMP_NUM_THREADS"] == "3"  # as the user says


@pytest.fixture
def recorded(monkeypatch):
    """Runs that note when they worked where, and fail where their row says so."""
    spans = []

    def work(self, children, place):
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        time.sleep(0.15)
        spans.append((self.row.name, place["CUDA_VISIBLE_DEVICES"], began, time.monotonic()))
        if self.row.name == "raises":
            raise RuntimeError("no\nsuch luck")
        if self.row.name == "fails":
            return self.fail("has a reason")
        self._write({"status": "done", "metrics": self._judged_by()})
        return self.result()

    monkeypatch.setattr(Run, "carry_out", work)
    return spans


def test_every_gpu_works_and_none_has_two_runs_at_a_time(recorded, study_of, run_of):
    runs = [run_of(row) for row in study_of(*"abcdefg").rows]
    results = carry_out(runs, places(None, ["0", "1", "2"], 3, {}))
    assert [result["status"] for result in results] == ["done"] * 7
    assert sorted(name for name, *_ in recorded) == list("abcdefg")
    assert {gpu for _, gpu, *_ in recorded} == {"0", "1", "2"}
    for gpu in "012":
        mine = sorted((began, ended) for _, where, began, ended in recorded if where == gpu)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(mine))
    assert any(one[2] < other[2] < one[3] for one in recorded for other in recorded if one != other)


def test_a_run_that_fails_does_not_stop_the_others(recorded, study_of, run_of, caplog):
    runs = [run_of(row) for row in study_of("fails", "a", "raises", "b").rows]
    results = carry_out(runs, places(None, ["0"], 1, {}))
    assert [result["status"] for result in results] == ["failed", "done", "failed", "done"]
    assert results[0]["reason"] == "has a reason"
    assert results[2]["reason"] == "RuntimeError: no such luck"
    assert "failed: fails (seed 0): has a reason" in caplog.text


def test_finished_runs_are_skipped(recorded, study_of, run_of):
    runs = [run_of(row) for row in study_of("a", "b").rows]
    carry_out(runs, places(None, ["0"], 1, {}))
    recorded.clear()
    assert [result["status"] for result in carry_out(runs, places(None, ["0"], 1, {}))] == ["done", "done"]
    assert recorded == []


def test_time_left_follows_from_what_this_call_has_done():
    assert left(0.75, 0.5, 100) == "01:40 left"
    assert left(0.5, 0.5, 100) == "starting"


SCRIPT = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal: in the background it is ignored
from pathlib import Path
from medtrans.benchmark.conditions import Budget, Conditions
from medtrans.benchmark.run import Run
from medtrans.benchmark.schedule import carry_out, places
from medtrans.benchmark.study import Row
words = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
Run._command = lambda self, stage: [sys.executable, "-S", "-c", words]
folder = Path(sys.argv[1])
runs = [Run(Row(name, folder), 0, folder / name, Conditions(folder, Budget(steps=1))) for name in "ab"]
carry_out(runs, places(2, [], 2, {}))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_ends_its_commands_and_leaves_the_runs_open(number, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=subprocess.DEVNULL)
    logs = [tmp_path / name / "log.txt" for name in "ab"]
    end = time.monotonic() + 60
    while not all(log.is_file() and "\npid" in log.read_text() for log in logs):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(30) != 0
    for log in logs:
        pid = int(log.read_text().split("\npid")[1].split()[0])
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not (log.parent / "result.json").exists() or "failed" not in (log.parent / "result.json").read_text()
