"""Every bundle trains, goes on after a kill with the bits of an uninterrupted run, translates and evaluates."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events

from medtrans.engines import run_inference

BUNDLES = Path(__file__).parents[2] / "bundles"
SHORT = {"image_size": [16, 16], "batch_size": 2, "max_epochs": 2, "num_workers": 0, "checkpoint_every": 2}


@pytest.fixture(scope="module", params=sorted(path.parent.name for path in BUNDLES.glob("*/method.json")))
def bundle(request):
    return BUNDLES / request.param


@pytest.fixture(scope="module")
def workflow(training_workflow):
    def begin(bundle, dataset, folder, settings):
        return training_workflow([bundle / "configs/train.json"], dataset, folder, **{**SHORT, **settings})

    return begin


@pytest.fixture(scope="module")
def trained(workflow, bundle, tiny_dataset, tmp_path_factory, small_settings):
    """The folder of an uninterrupted run of two epochs."""
    folder = tmp_path_factory.mktemp(bundle.name)
    workflow(bundle, tiny_dataset, folder, small_settings(bundle)).run()
    return folder


def kill(_):
    raise RuntimeError("killed")


def tensors(state, prefix=""):
    """Every tensor and number of a nested state, by path."""
    if isinstance(state, dict | list | tuple):
        parts = state.items() if isinstance(state, dict) else enumerate(state)
        return {name: value for key, part in parts for name, value in tensors(part, f"{prefix}/{key}").items()}
    return {prefix: state}


def test_a_killed_run_goes_on_with_the_same_bits(workflow, bundle, trained, tiny_dataset, tmp_path, small_settings):
    flow = workflow(bundle, tiny_dataset, tmp_path, small_settings(bundle))
    trainer = flow.parser.get_parsed_content("train::trainer")
    length = trainer.state.epoch_length
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=length + 4), kill)  # one step after a checkpoint
    with pytest.raises(RuntimeError):
        flow.run()
    assert torch.load(tmp_path / "models/checkpoint.pt", weights_only=True)["run"]["iteration"] == length + 3
    workflow(bundle, tiny_dataset, tmp_path, small_settings(bundle)).run()
    for name in ("checkpoint.pt", "model.pt"):
        whole, broken = (
            tensors(torch.load(folder / "models" / name, weights_only=True)) for folder in (trained, tmp_path)
        )
        assert whole.keys() == broken.keys()
        for key, value in whole.items():
            same = torch.equal(value, broken[key]) if isinstance(value, torch.Tensor) else value == broken[key]
            assert same, f"{name}: {key} differs"


def test_it_translates_whole_volumes_in_the_targets_unit(bundle, trained, tiny_dataset, tmp_path):
    rows = run_inference(bundle, tiny_dataset, tmp_path, (), {"ckpt_dir": str(trained / "models")})
    (row,) = rows  # the test split
    image, source = nib.load(tmp_path / row["output"]), nib.load(tiny_dataset / row["case"] / "T1.nii")
    assert image.shape == source.shape
    np.testing.assert_allclose(image.affine, source.affine, atol=1e-5)
    values = image.get_fdata()
    assert np.isfinite(values).all()
    assert values.std() > 0
    assert 0 <= values.min() <= values.max() <= 1000


def test_it_evaluates_what_it_translated(bundle, trained, tmp_path, inference_workflow):
    places = {"ckpt_dir": str(trained / "models"), "output_dir": str(tmp_path)}
    inference_workflow(bundle / "configs/evaluate.json", metrics=["mae"], **places).run()
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {"synthetic", "source"}
    assert all(np.isfinite(float(row["mae"])) for row in rows)


def test_settings_are_recorded_for_inference(bundle, trained):
    recorded = json.loads((trained / "models/modalities.json").read_text())["settings"]
    written = json.loads((bundle / "configs/train.json").read_text())["network_def"]
    assert recorded["network"].keys() == written.keys()
    assert recorded["network"]["_target_"] == written["_target_"]
    assert recorded["image_size"] == SHORT["image_size"]
