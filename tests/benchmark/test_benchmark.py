"""The whole command on tiny phantoms: two rows, one that fails, the order of the data, killed and started again."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TINY = ("--config", "quick.json", "--set", "image_size=[16,16]", "--set", "network_def#channels=[4,4]")
ROWS = (f"shallow={ROOT}/bundles/pix2pix", f"deep={ROOT}/bundles/pix2pix+network_def#blocks=2")


def command(python, output, dataset, *rows, budget=("--epochs", "1")):
    """The words of a benchmark of tiny networks."""
    words = [python, "-m", "medtrans.cli", "benchmark", *rows, "--dataset", str(dataset), "--output", str(output)]
    return [*words, *budget, "--metrics", "ssim,psnr,mae", *TINY]


def run(words, accepted=(0,)):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode in accepted, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def logs(output):
    """Folder of a run -> its log."""
    return {path.parent: path.read_text() for path in (output / "runs").glob("*/log.txt")}


@pytest.fixture(scope="module")
def compared(tmp_path_factory, heads, warm_python):
    """Two rows that train, and one whose training fails, by the command; its output folder and what it said."""
    output = tmp_path_factory.mktemp("compared") / "out"
    broken = f"broken={ROOT}/bundles/pix2pix+source=CT"
    return output, run(command(warm_python, output, heads, *ROWS, broken), accepted=(1,))


def test_a_failed_row_is_told_and_the_others_are_compared(compared):
    output, done = compared
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "1 of 3 runs failed, the first: broken: " in done.stderr
    runs = pd.read_csv(output / "runs.csv").set_index("row")
    assert runs["status"].to_dict() == {"shallow": "done", "deep": "done", "broken": "failed"}
    assert "no modality 'CT'" in runs.loc["broken", "reason"]
    assert runs.loc["deep", "parameters_generator"] == 2 * runs.loc["shallow", "parameters_generator"]
    assert (runs.loc[["shallow", "deep"], ["seconds_a_step", "seconds_a_slice", "memory_mib"]] > 0).all().all()
    text = (output / "benchmark.md").read_text()
    assert "| broken " in text
    assert "failed" in text


def test_every_subject_is_judged_and_the_source_beside(compared, heads):
    output, _ = compared
    subjects = pd.read_csv(output / "comparison/subjects.csv")
    assert set(subjects["row"]) == {"shallow", "deep", "untranslated source"}
    assert subjects.groupby("row")["subject"].nunique().eq(3).all()
    summary = pd.read_csv(output / "comparison/summary.csv")
    line = summary.query("row == 'deep' and metric == 'ssim' and level == 'volume' and region == 'mask'").iloc[0]
    values = subjects.query("row == 'deep' and level == 'volume' and region == 'mask'")["ssim"]
    assert line["mean"] == pytest.approx(values.mean())
    assert line["low"] <= line["mean"] <= line["high"]
    assert "cannot make a difference significant" in (output / "benchmark.md").read_text()  # three subjects


def test_both_networks_were_given_the_same_images_in_the_same_order(compared):
    output, _ = compared
    seen = []
    for steps in (output / "runs").glob("*/training/steps.csv"):
        with steps.open(newline="") as file:
            seen.append([row["items"] for row in csv.DictReader(file)])
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert len(set(" ".join(seen[0]).split())) > 8  # they are not all one image
    assert "every row was given the same images in the same order" in (output / "benchmark.md").read_text()


class Sources(HTMLParser):
    """Addresses that a page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [value for key, value in attributes if key in ("src", "href") and value]


def test_the_page_needs_nothing_else(compared):
    output, _ = compared
    page = (output / "benchmark.html").read_text()
    addresses = Sources(page).found
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    for word in ("shallow", "deep", "untranslated source", "broken", "<svg", "s/slice"):
        assert word in page


def test_what_is_done_is_skipped_and_a_new_row_is_added(compared, heads, tmp_path, warm_python):
    output = shutil.copytree(compared[0], tmp_path / "out")
    before = logs(output)
    done = run(command(warm_python, output, heads, *ROWS, f"other={ROOT}/bundles/pix2pix+learning_rate=0.001"))
    after = logs(output)
    same = [folder for folder in before if (folder / "result.json").read_text().find('"done"') > 0]
    assert len(same) == 2
    assert all(after[folder] == before[folder] for folder in same)
    assert "2 of 3 runs are done already" in done.stderr
    assert len(set(after) - set(before)) == 1
    assert set(pd.read_csv(output / "comparison/summary.csv")["row"]) == {
        "shallow", "deep", "other", "untranslated source"
    }  # fmt: skip


def test_a_killed_benchmark_goes_on_where_it_was(compared, heads, tmp_path, warm_python):
    """SIGKILL of everything in the middle of a training: it resumes from its checkpoint and ends with equal numbers."""
    words = [*command(warm_python, tmp_path / "out", heads, ROWS[0]), "--set", "checkpoint_every=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        end = time.monotonic() + 600
        while not list((tmp_path / "out").glob("runs/*/models/checkpoint.pt")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    run(words)
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    said = (folder / "log.txt").read_text()
    assert said.count("monai.bundle run training") == 2
    assert "resuming from" in said
    straight, broken = (pd.read_csv(out / "comparison/subjects.csv") for out in (compared[0], tmp_path / "out"))
    straight = straight[straight["row"] != "deep"].reset_index(drop=True)
    pd.testing.assert_frame_equal(straight, broken)


def test_a_run_can_be_repeated_by_the_command_in_its_log(compared):
    output, _ = compared
    for folder, said in logs(output).items():
        words = next(line for line in said.splitlines() if "run training" in line)
        assert words.startswith("$ ")
        written = json.loads((folder / "benchmark.json").read_text())
        assert written["ckpt_dir"] == str(folder / "models")
        assert str(folder / "benchmark.json") in words


def test_mistakes_are_refused_before_anything_is_trained(heads, tmp_path, run_medtrans, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    bundle, shared = f"{ROOT}/bundles/pix2pix", ("--dataset", heads, "--output", tmp_path / "out")
    cases = {
        "Give one of --epochs": ["benchmark", bundle, *shared],
        "is not a bundle": ["benchmark", tmp_path, *shared, "--epochs", "1"],
        "Did you mean 'learning_rate'": ["benchmark", f"{bundle}+learning_rat=1", *shared, "--epochs", "1"],
        "metric 'ssmi'": ["benchmark", bundle, *shared, "--epochs", "1", "--metrics", "ssmi"],
        "the metrics: are not available": ["benchmark", bundle, *shared, "--epochs", "1", "--metrics", "lpips"],
        "is not a data set": ["benchmark", bundle, "--dataset", tmp_path, "--epochs", "1"],
        "row 'b'": ["benchmark", f"a={bundle}", *shared, "--epochs", "1", "--only", "b"],
        "the rows": ["benchmark", *shared, "--epochs", "1"],
    }
    for message, words in cases.items():
        code, line = run_medtrans(*words)
        assert code == 2, words
        assert message in line
    assert not (tmp_path / "out").exists()
