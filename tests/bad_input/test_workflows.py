"""Bad input to the workflows of a bundle, as ``python -m monai.bundle`` runs them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medtrans.errors import input_error_behind

BUNDLE = Path(__file__).parents[2] / "bundles/medgan"


def run_bundle(run_id, config, **options):
    """What ``python -m monai.bundle run`` would say last: the error behind the exception; None where all went well."""
    from monai.bundle import run

    try:
        run(run_id, config_file=str(BUNDLE / "configs" / config), logging_file=False, **options)
    except Exception as error:
        known = input_error_behind(error)
        if known is None:
            raise
        return str(known)
    return None


SMALL = {
    "image_size": [16, 16],
    "network_def::blocks": 1,
    "network_def::channels": [4, 4],
    "discriminator_def::channels": 4,
    "losses::style::weight": 0,
    "losses::content::weight": 0,
    "threads": 1,
    "max_epochs": 1,
    "num_workers": 0,
}


def lose_t2(_, data):
    (data / "cases.csv").write_text((data / "cases.csv").read_text().replace("head-0001/T2.nii", ""))


def swap_grid(kit, data):
    kit.spoil(data / "head-0001/T2.nii", lambda values: values[1:])


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda kit, data: kit.cut(data / "head-0001/T2.nii"), ("head-0001/T2.nii", "damaged", "Copy")),
        (
            lambda kit, data: kit.spoil(data / "head-0001/T1.nii", kit.with_nan),
            ("head-0001/T1.nii", "not finite", "Replace"),
        ),
        (lose_t2, ("head-0001 (T2)", "Complete them")),
        (swap_grid, ("head-0001/T2.nii", "not on the grid", "Align")),
        (lambda kit, data: (data / "head-0001/T1.nii").unlink(), ("head-0001/T1.nii", "does not exist", "Restore it")),
        (lambda kit, data: (data / "cases.csv").unlink(), ("is not a data set", "medtrans prepare")),
        (lambda kit, data: kit.cut(data / "recipe.json"), ("recipe.json", "JSON", "Prepare the data set again")),
    ],
    ids=["truncated", "NaN", "modality missing", "other grid", "file gone", "no table", "broken recipe"],
)
def test_training_refuses_a_spoilt_data_set_by_name(harm, says, kit):
    data = kit.data_set()
    harm(kit, data)
    places = {"ckpt_dir": str(kit.folder / "models"), "output_dir": str(kit.folder / "eval")}
    told = run_bundle("training", "train.json", dataset_dir=str(data), **SMALL, **places)
    assert told is not None
    for word in says:
        assert word in told, told
    assert not (kit.folder / "models/model.pt").exists()
    for path in kit.written(kit.folder / "models") + kit.written(kit.folder / "eval"):
        assert not path.name.startswith(".partial")


@pytest.mark.parametrize("place", ["ckpt_dir", "output_dir"])
def test_training_refuses_a_file_in_the_place_of_a_folder(place, kit):
    places = {"ckpt_dir": kit.folder / "models", "output_dir": kit.folder / "eval"}
    places[place].write_text("a file")
    told = run_bundle(
        "training", "train.json", dataset_dir=str(kit.phantoms), **SMALL, **{k: str(v) for k, v in places.items()}
    )
    assert str(places[place]) in told
    assert "cannot be written" in told
    assert "Choose a folder" in told


def test_training_refuses_a_truncated_checkpoint_and_leaves_it(kit):
    places = {"ckpt_dir": str(kit.folder / "models"), "output_dir": str(kit.folder / "eval")}
    assert run_bundle("training", "train.json", dataset_dir=str(kit.phantoms), **SMALL, **places) is None
    checkpoint = kit.folder / "models/checkpoint.pt"
    kit.cut(checkpoint)
    content = checkpoint.read_bytes()
    told = run_bundle("training", "train.json", dataset_dir=str(kit.phantoms), **SMALL | {"max_epochs": 2}, **places)
    assert "checkpoint.pt: is damaged" in told
    assert "Restore a copy, or delete it" in told
    assert checkpoint.read_bytes() == content


def test_inference_of_the_bundle_without_input_is_told(kit):
    told = run_bundle(None, "inference.json", ckpt_dir=str(kit.models), output_dir=str(kit.folder / "out"))
    assert "input: is not given" in told


def test_the_evaluation_workflow_judges_what_could_be_translated(kit, capsys):
    data = kit.data_set()
    kit.cut(data / "head-0001/T1.nii")
    options = {"ckpt_dir": str(kit.models), "dataset_dir": str(data), "output_dir": str(kit.folder / "out")}
    told = run_bundle("evaluating", "evaluate.json", split="all", metrics=["mae"], **options)
    assert "1 case(s) could not be evaluated" in told
    assert "head-0001" in told
    assert (kit.folder / "out/report.html").is_file()
    with (kit.folder / "out/metrics.csv").open() as file:
        assert {line["case"] for line in csv.DictReader(file)} == {"head-0000", "head-0002", "head-0003"}
    assert "head-0001/T1.nii: is damaged" in (kit.folder / "out/synthetic/translated.csv").read_text()


@pytest.mark.slow
def test_the_bundles_command_line_ends_in_one_line_and_does_the_rest(kit):
    scans = kit.scans()
    kit.spoil(scans / "s1.nii.gz", kit.with_nan)
    words = [sys.executable, "-m", "monai.bundle", "run", "--config_file", BUNDLE / "configs/inference.json"]
    words += ["--input", scans, "--output_dir", kit.folder / "out", "--ckpt_dir", kit.models]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("error: ")
    assert "1 of 3 cases failed" in last
    assert "s1.nii.gz: holds values that are not finite" in last
    assert len(list((kit.folder / "out").glob("*.nii.gz"))) == 2
    assert "Traceback" not in done.stderr
