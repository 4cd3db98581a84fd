"""A run killed with SIGKILL at any moment and started again ends as the uninterrupted run does, to the bit."""

import csv
import os
import signal
import subprocess
import time

import pytest
import torch

pytestmark = pytest.mark.slow


def settings(dataset, folder):
    return {
        "dataset_dir": dataset,
        "ckpt_dir": folder / "models",
        "output_dir": folder / "eval",
        "max_epochs": 4,
        "batch_size": 2,
        "num_workers": 2,
        "checkpoint_every": 2,
        "train::trainer::precision": "fp32",
    }


def killed_when(words, cwd, reached):
    """Start the run, SIGKILL its whole process group as soon as ``reached()`` says so; False if it finished."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while process.poll() is None:
            if reached():
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.002)
        assert process.returncode == 0, process.stderr.read().decode()[-3000:]
        return False
    finally:
        process.stderr.close()


def rows(path):
    if not path.is_file():
        return []
    with path.open() as file:
        return list(csv.reader(file))


def tensors(state, prefix=""):
    """Every tensor and number of a nested state, by path."""
    if isinstance(state, dict):
        return {k: v for name, part in state.items() for k, v in tensors(part, f"{prefix}/{name}").items()}
    if isinstance(state, list | tuple):
        return {k: v for place, part in enumerate(state) for k, v in tensors(part, f"{prefix}/{place}").items()}
    return {prefix: state}


def assert_same(one, other):
    one, other = (tensors(torch.load(path, weights_only=True)) for path in (one, other))
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        assert same, f"{name} differs"


def test_a_run_killed_again_and_again_ends_with_the_bits_of_an_uninterrupted_one(
    tmp_path, tiny_dataset, bundle_command, run_command, root
):
    config = root / "bundles/medgan/train.json"
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run_command(*bundle_command("training", config, **settings(tiny_dataset, straight)))
    whole = rows(straight / "eval/losses.csv")
    length = (len(whole) - 1) // 4
    assert length > 4, "an epoch must be long enough to be killed in"

    words = bundle_command("training", config, **settings(tiny_dataset, broken))
    losses, checkpoint = broken / "eval/losses.csv", broken / "models/checkpoint.pt"
    moments = [
        lambda: len(rows(losses)) > 1,  # before the first checkpoint
        lambda: len(rows(losses)) > length // 2 + 1,  # in the middle of the first epoch
        lambda: any(broken.glob("models/.partial-*")) and len(rows(losses)) > length,  # while a file is written
        lambda: (
            len(rows(broken / "eval/validation.csv")) > 2
        ),  # right after the second validation, before its checkpoint
        lambda: len(rows(losses)) > 3 * length + 2,  # in the last epoch
    ]
    killed = [killed_when(words, root, moment) for moment in moments]
    assert killed.count(True) >= 4
    assert checkpoint.is_file()
    run_command(*words)

    assert_same(straight / "models/checkpoint.pt", checkpoint)
    assert_same(straight / "models/model.pt", broken / "models/model.pt")
    assert rows(losses) == whole
    assert rows(broken / "eval/validation.csv") == rows(straight / "eval/validation.csv")
    assert not list(broken.glob("models/.partial-*"))


def test_a_finished_run_started_again_does_nothing_and_goes_on_for_more_epochs(
    tmp_path, tiny_dataset, bundle_command, run_command, root
):
    config, folder = root / "bundles/medgan/train.json", tmp_path
    short = {**settings(tiny_dataset, folder), "max_epochs": 1, "num_workers": 0}
    run_command(*bundle_command("training", config, **short))
    before = (folder / "models/checkpoint.pt").read_bytes()
    again = run_command(*bundle_command("training", config, **short))
    assert "already trained for 1 epochs" in again.stdout + again.stderr
    assert (folder / "models/checkpoint.pt").read_bytes() == before
    run_command(*bundle_command("training", config, **{**short, "max_epochs": 2}))
    straight = {**short, "max_epochs": 2, "ckpt_dir": folder / "other", "output_dir": folder / "other-eval"}
    run_command(*bundle_command("training", config, **straight))
    assert_same(folder / "models/checkpoint.pt", folder / "other/checkpoint.pt")
