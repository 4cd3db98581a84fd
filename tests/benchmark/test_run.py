"""One run, with commands that are stand-ins: what it keeps after a kill, and why it failed, in one line."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from medtrans.benchmark.children import Children
from medtrans.benchmark.conditions import Budget
from medtrans.benchmark.run import Run, last_row, reason_in
from medtrans.benchmark.study import Row

STEPS = """epoch,iteration,seconds,total_seconds,memory_mib,cuda_mib,items
1,1,9.0,9.0,100,0,aa bb
1,2,0.2,9.2,150,0,cc dd
1,3,0.4,9.6,140,0,ee
"""
FACTS = {"total_steps": 3, "batch_size": 2, "generator_steps": 1, "device": "CPU", "threads": 1}
WRITE = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(sys.argv[2])
"""


def writes(path, text):
    return [sys.executable, "-S", "-c", WRITE, str(path), text]


@pytest.fixture
def stages(monkeypatch):
    """Each stage's command, and the list of stages that were run; a test may put others in their place."""
    ran = []

    class Commands(dict):
        pass

    commands = Commands()
    commands.ran = ran

    def command(self, stage):
        ran.append(stage)
        if stage in commands:
            return commands[stage]
        return {
            "trained": writes(self.folder / "models/model.pt", "weights"),
            "translated": writes(self.synthetic / "translated.csv", "case,status,seconds\na,ok,3.0\nb,kept,0.1\n"),
            "evaluated": writes(self.folder / "evaluation/metrics.csv", "case\n"),
        }[stage]

    monkeypatch.setattr(Run, "_command", command)
    monkeypatch.setattr(Run, "_seconds_a_slice", lambda self: 0.5)
    return commands


@pytest.fixture
def run(run_of, bundle):
    one = run_of(Row("row", bundle()))
    (one.folder / "training").mkdir(parents=True)
    one.steps.write_text(STEPS)
    one.steps.with_suffix(".json").write_text(json.dumps(FACTS | {"parameters": {"generator": 7, "discriminator": 2}}))
    return one


def test_a_run_trains_translates_and_evaluates_and_tells_what_it_cost(run, stages):
    (run.folder / "models").mkdir()
    (run.folder / "models/checkpoint.pt").write_text("three times the model")
    result = run.carry_out(Children(), {})
    assert stages.ran == ["trained", "translated", "evaluated"]
    assert result["status"] == "done"
    assert run.is_done()
    assert run.share_done() == 1
    assert (result["steps"], result["images"], result["memory_mib"]) == (3, 5, 150)
    assert result["seconds_a_step"] == pytest.approx(0.3)  # the first one warms up
    assert result["training_seconds"] == pytest.approx(9.6)
    assert result["parameters"] == {"generator": 7, "discriminator": 2}
    assert not (run.folder / "models/checkpoint.pt").exists()
    assert (run.folder / "models/model.pt").exists()


def test_a_finished_run_is_not_done_again(run, stages):
    first = run.carry_out(Children(), {})
    stages.ran.clear()
    assert run.carry_out(Children(), {}) == first
    assert stages.ran == []


def test_other_metrics_only_evaluate_anew(run, stages, conditions):
    run.carry_out(Children(), {})
    stages.ran.clear()
    other = replace(run, conditions=replace(conditions, metrics=("psnr",)))
    assert not other.is_done()
    assert other.carry_out(Children(), {})["seconds_a_slice"] == 0.5
    assert stages.ran == ["evaluated"]


def test_parts_whose_files_are_gone_are_done_again(run, stages):
    stages["evaluated"] = [sys.executable, "-S", "-c", "raise SystemExit(1)"]
    run.carry_out(Children(), {})
    del stages["evaluated"]
    stages.ran.clear()
    (run.synthetic / "translated.csv").unlink()
    run.carry_out(Children(), {})
    assert stages.ran == ["translated", "evaluated"]


def test_a_failing_command_is_a_failed_run_with_its_own_error_line(run, stages):
    said = "print('working'); print('error: /scans/x.nii: is damaged. Write it again.'); raise SystemExit(2)"
    stages["translated"] = [sys.executable, "-S", "-c", said]
    result = run.carry_out(Children(), {})
    assert (result["status"], result["reason"]) == ("failed", "/scans/x.nii: is damaged. Write it again.")
    assert not run.is_done()
    assert stages.ran == ["trained", "translated"]
    assert "working" in (run.folder / "log.txt").read_text()
    del stages["translated"]
    stages.ran.clear()
    assert run.carry_out(Children(), {})["status"] == "done"  # mended; the training is kept
    assert stages.ran == ["translated", "evaluated"]


def test_the_reason_is_the_last_word_of_what_went_wrong():
    trace = "$ python -m …\nTraceback (most recent call last):\n  File x\nRuntimeError: CUDA out of memory\n"
    assert reason_in(trace, 1) == "RuntimeError: CUDA out of memory"
    assert reason_in("$ python -m …\nepoch 1\n", -9) == "was ended by signal 9 (out of memory?)"
    assert reason_in("$ python -m …\n", 3) == "ended with exit code 3"


def test_commands_are_told_where_they_work(run, stages):
    words = "import os; print('GPU', os.environ['CUDA_VISIBLE_DEVICES'])"
    stages["trained"] = [sys.executable, "-S", "-c", words]
    run.carry_out(Children(), {"CUDA_VISIBLE_DEVICES": "5"})
    assert "GPU 5" in (run.folder / "log.txt").read_text()


def test_a_stopped_run_is_neither_done_nor_failed(run, stages):
    stages["trained"] = [sys.executable, "-S", "-c", "import time; print('here', flush=True); time.sleep(60)"]
    children = Children()
    results = []
    thread = threading.Thread(target=lambda: results.append(run.carry_out(children, {})))
    thread.start()
    wait_for(lambda: "here" in read(run.folder / "log.txt").split("\n")[1:])
    children.stop()
    thread.join(20)
    assert results == [{"status": "stopped"}]
    assert run.result()["status"] == "open"
    assert run.carry_out(children, {}) == {"status": "stopped"}  # nothing begins any more


def test_a_command_that_outlived_its_benchmark_is_waited_for(run, stages):
    """The lock is held by the command itself, so killing the benchmark does not open the folder to a second one."""
    script = (
        "import subprocess, sys, time; from medtrans.benchmark.children import alone_in; from pathlib import Path\n"
        f"with alone_in(Path({str(run.folder)!r})) as lock:\n"
        "    subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(4)'], pass_fds=(lock,))\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    benchmark = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert benchmark.stdout.readline() == "held\n"
    began = time.monotonic()
    benchmark.kill()
    benchmark.wait()
    assert run.carry_out(Children(), {})["status"] == "done"
    assert time.monotonic() - began > 2


def test_how_far_it_is_follows_the_steps_written(run):
    assert run.share_done() == pytest.approx(0.9 * 3 / 4)  # 3 of the budget's 4 steps
    minutes = replace(run, conditions=replace(run.conditions, budget=Budget(minutes=0.32)))
    assert minutes.share_done() == pytest.approx(0.9 * 9.6 / 19.2)
    run.steps.unlink()
    assert run.share_done() == 0


@pytest.mark.parametrize("half", ["", "1,4,0.1", "1,4,0.1,9.7,140,0,f"])
def test_the_last_whole_row_is_read_while_the_next_is_being_written(tmp_path, half):
    path = tmp_path / "steps.csv"
    path.write_text(STEPS + half)
    assert last_row(path)["iteration"] == "3"
    many = "".join(f"1,{n},0.1,1.0,1,0,{'ab' * 40}\n" for n in range(4, 3000))
    path.write_text(STEPS + many + half)
    assert last_row(path)["iteration"] == "2999"
    path.write_text(STEPS.splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="no row yet"):
        last_row(path)


def test_the_config_of_a_run_holds_data_places_seed_and_budget(run):
    written = json.loads(run._write_overlay().read_text())
    assert written["dataset_dir"] == str(run.conditions.dataset)
    assert (written["ckpt_dir"], written["output_dir"]) == (str(run.folder / "models"), str(run.folder / "training"))
    assert (written["seed"], written["checkpoint_every"]) == (0, 1000)
    assert "+train::handlers" in written


def wait_for(reached, seconds=30):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def read(path):
    return path.read_text() if os.path.exists(path) else ""
