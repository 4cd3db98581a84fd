"""A whole cohort through a trained bundle: over local processes and over a Dask cluster, as over one process."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
from distributed import Client, LocalCluster

from medtrans.engines import run_inference
from medtrans.errors import CasesFailedError, InputError, input_error_behind

pytestmark = pytest.mark.slow
CASES = 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_dataset, train_bundle):
    """The models folder of one quick epoch T1 -> T2."""
    return train_bundle(tmp_path_factory.mktemp("trained"), tiny_dataset, learning_rate=0.02, max_epochs=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, make_dataset):
    """A data set of four test cases."""
    folder = tmp_path_factory.mktemp("cohort")
    make_dataset(folder, splits=["test"] * CASES)
    return folder


@pytest.fixture(scope="module")
def translate(root, trained):
    """``translate(source, output, …)``: the rows."""

    def run(source, output, **options):
        overrides = {"ckpt_dir": str(trained), "split": "all"}
        return run_inference(root / "bundles/medgan", str(source), output, overrides=overrides, **options)

    return run


@pytest.fixture(scope="module")
def alone(translate, cohort, tmp_path_factory):
    """What one process makes of the cohort."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, translate(cohort, folder, workers=1)


@pytest.fixture
def run_until():
    """``run_until(condition, command)``: start a command, and kill it with its children once the condition holds."""

    def run(condition, command):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 180
        while not condition() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert condition()

    return run


@pytest.fixture(scope="module")
def cluster():
    """A real scheduler with two worker processes on loopback; its address."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, protocol="tcp", dashboard_address=None, memory_limit=0
    ) as running:
        yield running.scheduler_address


def check(rows, folder, alone):
    expected, reference = alone
    assert [row["case"] for row in rows] == [row["case"] for row in reference]
    for row in rows:
        assert row["status"] == "ok", row
        one, other = nib.load(folder / row["output"]), nib.load(expected / row["output"])
        assert np.array_equal(one.get_fdata(), other.get_fdata())
        assert np.array_equal(one.affine, other.affine)
        sidecar = row["output"].replace(".nii.gz", ".json")
        assert (folder / sidecar).read_text() == (expected / sidecar).read_text()
    with (folder / "translated.csv").open() as file:
        assert [row["fingerprint"] for row in csv.DictReader(file)] == [row["fingerprint"] for row in reference]


def test_local_processes_write_the_voxels_of_one_process_and_keep_what_is_finished(translate, cohort, alone, tmp_path):
    rows = translate(cohort, tmp_path, workers=2)
    check(rows, tmp_path, alone)
    lost = tmp_path / rows[2]["output"]
    lost.unlink()
    again = translate(cohort, tmp_path, workers=2)
    assert [row["status"] for row in again] == ["kept", "kept", "ok", "kept"]
    assert lost.is_file()


def test_a_scheduler_with_two_workers_writes_the_voxels_of_one_process(translate, cohort, alone, cluster, tmp_path):
    check(translate(cohort, tmp_path, scheduler=cluster), tmp_path, alone)
    with Client(cluster) as client:  # is left running, and both have worked
        assert len(client.scheduler_info()["workers"]) == 2


def test_a_case_that_cannot_be_read_is_a_row_and_the_others_are_done(translate, cohort, alone, cluster, tmp_path):
    source = tmp_path / "cohort"
    shutil.copytree(cohort, source)
    broken = source / alone[1][1]["case"] / "T1.nii"
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(RuntimeError) as told:
        translate(source, tmp_path / "out", scheduler=cluster)
    assert isinstance(input_error_behind(told.value), CasesFailedError)
    with (tmp_path / "out/translated.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok"]
    assert "T1.nii" in rows[1]["reason"]
    assert not (tmp_path / "out" / alone[1][1]["output"]).exists()


def test_a_run_killed_with_its_processes_goes_on_with_what_is_left(
    cohort, alone, trained, translate, root, tmp_path, run_until
):
    command = [sys.executable, "-m", "medtrans.cli", "translate", str(root / "bundles/medgan"), str(cohort)]
    command += [str(tmp_path), "--split", "all", "--workers", "2", "--set", f"ckpt_dir={trained}"]
    run_until(lambda: list(tmp_path.glob("*.nii.gz")), command)
    with (tmp_path / "translated.csv").open() as file:
        finished = {row["case"] for row in csv.DictReader(file)}
    rows = translate(cohort, tmp_path, workers=2)
    assert {row["case"] for row in rows if row["status"] == "kept"} == finished
    assert all(row["status"] in ("ok", "kept") for row in rows)
    for row, reference in zip(rows, alone[1], strict=True):
        expected = nib.load(alone[0] / reference["output"]).get_fdata()
        assert np.array_equal(nib.load(tmp_path / row["output"]).get_fdata(), expected)


def test_a_scheduler_that_does_not_answer_is_bad_input(translate, cohort, monkeypatch, tmp_path):
    monkeypatch.setattr("medtrans.jobs.ANSWER_SECONDS", 0.5)
    with pytest.raises(RuntimeError) as told:
        translate(cohort, tmp_path, scheduler="tcp://127.0.0.1:9")
    assert isinstance(known := input_error_behind(told.value), InputError)
    assert "does not answer" in str(known)
