"""Tasks that need no pairs, as overlays: any paired bundle, with quick.json and three_d.json in either order."""

import json
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medtrans.bundle import check_keys
from medtrans.cohorts import Cases, volume_items
from medtrans.cohorts.simulated import simulate_dataset
from medtrans.cohorts.tasks import Task
from medtrans.engines import run_inference
from medtrans.errors import input_error_behind

ROOT = Path(__file__).parents[2]
TASKS = sorted((ROOT / "tasks").glob("*.json"))
PAIRED = ("medgan", "pix2pix", "pan", "id_cgan", "fila_sgan", "regression", "simple", "cyclegan_s", "generators_s")
SMALL = {"image_size": [16, 16], "batch_size": 2, "max_epochs": 2, "num_workers": 0}


@pytest.fixture
def workflow(root, training_workflow, tiny_dataset, tmp_path, small_settings):
    """A training of a bundle with overlays, initialised, as small as it can be."""

    def begin(*overlays, bundle="pix2pix", folder=tmp_path, dataset=tiny_dataset, **settings):
        configs = root / "bundles" / bundle / "configs"
        files = [configs / "train.json", *(configs / o if isinstance(o, str) else o for o in overlays)]
        small = {**SMALL, **small_settings(root / "bundles" / bundle), **settings}
        if "three_d.json" in overlays:
            small |= {"image_size": [8, 8, 8], "patches": 2, "batch_size": 2} | settings
        return training_workflow(files, dataset, folder, **small)

    return begin


def items(flow, part, epoch, track_meta=False):
    dataset = flow.parser.get_parsed_content(f"{part}::dataset")
    dataset.track_meta = track_meta
    return [dataset[epoch, index] for index in range(len(dataset))]


def gains(flow, part, epoch):
    return [item["source"].meta["degradations"][0]["parameters"]["gain"] for item in items(flow, part, epoch, True)]


def test_the_source_is_the_degraded_target_scaled_by_the_targets_window(workflow, louder_task):
    flow = workflow(louder_task, gain=2)
    described_items = flow.parser.get_parsed_content("validate::dataset").data
    for item, described in zip(items(flow, "validate", 0), described_items, strict=True):
        companion = nibabel.load(described["CT"]).get_fdata()[..., described["index"]]
        clean = nibabel.load(described["target"][0]).get_fdata()[..., described["index"]]
        expected = torch.from_numpy(np.clip((2 * clean + companion) / 500 - 1, -1, 1)).float()  # window 0 … 1000
        shown = item["source"][0][1:15]  # 14 columns are padded to 16, 18 rows cropped
        torch.testing.assert_close(shown, expected[:, 1:17], rtol=1e-4, atol=1e-5)
        assert described["source"] == described["target"]
        assert "CT" not in item


def test_training_draws_anew_in_each_epoch_and_validation_always_the_same(workflow, louder_task, tmp_path):
    flow = workflow(louder_task)
    drawn = [gains(flow, "train", epoch) for epoch in range(3)]
    assert all(len(set(epoch)) == len(epoch) > 4 for epoch in drawn)
    assert all(not set(one) & set(other) for one, other in permutations(drawn, 2))
    assert drawn[1] == gains(flow, "train", 1)
    again = workflow(louder_task, folder=tmp_path / "again")
    assert drawn[2] == gains(again, "train", 2)
    assert gains(workflow(louder_task, folder=tmp_path / "other", seed=1), "train", 0) != drawn[0]


def test_the_validation_of_every_epoch_sees_the_same_sources(workflow, louder_task):
    flow, seen = workflow(louder_task), []
    evaluator = flow.parser.get_parsed_content("validate::evaluator")
    evaluator.add_event_handler(
        "ITERATION_COMPLETED", lambda e: seen.append(torch.stack([item["source"] for item in e.state.batch]))
    )
    flow.run()
    batches = len(seen) // 2
    assert batches >= 1
    assert all(torch.equal(one, other) for one, other in zip(seen[:batches], seen[batches:], strict=True))


def test_a_model_of_a_task_translates_the_modality_of_that_name(
    workflow, louder_task, tiny_dataset, tmp_path, root, inference_workflow
):
    workflow(louder_task, max_epochs=1).run()
    recorded = json.loads((tmp_path / "models/modalities.json").read_text())
    (source,), (target,) = recorded["source"], recorded["target"]
    assert (source["modality"], target["modality"]) == ("T1-loud", "T1")
    assert source["intensity"] == target["intensity"]
    assert recorded["settings"]["degradation"][0]["gain"] == [1.5, 3.0]
    simulate_dataset(Task.read(louder_task), tiny_dataset, tmp_path / "simulated", workers=1)
    settings = {"ckpt_dir": str(tmp_path / "models")}
    for name, given in (("set", tmp_path / "simulated"), ("file", tmp_path / "simulated/case3/T1-loud.nii")):
        (row,) = run_inference(root / "bundles/pix2pix", str(given), tmp_path / name, (), settings)
        assert row["status"] == "ok"
        assert "_T1_synthetic" in row["output"]
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        run_inference(root / "bundles/pix2pix", str(tiny_dataset), tmp_path / "clean", (), settings)
    assert "has no modality 'T1-loud'" in str(input_error_behind(caught.value))
    places = {"dataset_dir": str(tmp_path / "simulated"), "output_dir": str(tmp_path / "report")}
    report = inference_workflow(root / "bundles/pix2pix/configs/evaluate.json", metrics=["mae"], **places, **settings)
    report.run()
    assert "source" in (tmp_path / "report/metrics.csv").read_text()


def test_another_severity_is_not_resumed(workflow, louder_task):
    workflow(louder_task, max_epochs=1).run()
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        workflow(louder_task, max_epochs=2, gain=[2.0, 3.0]).run()
    assert "was made with degradation" in str(input_error_behind(caught.value))


@pytest.mark.parametrize("order", list(permutations(("quick.json", "three_d.json", "task"))), ids="-".join)
def test_overlays_of_size_and_dimension_combine_in_any_order(workflow, louder_task, order, tmp_path):
    flow = workflow(*(louder_task if name == "task" else name for name in order), folder=tmp_path)
    phantom = {"subjects": 16, "spacing": 3.5, "modalities": ["T1", "CT"]}
    assert flow.parser.get_parsed_content("phantom") == phantom
    (first, *_) = items(flow, "train", 0, True)
    assert first["source"].shape == (1, 8, 8, 8)
    assert first["source"].meta["degradations"][0]["parameters"]["spacing"] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("bundle", PAIRED)
def test_every_paired_bundle_takes_a_task(workflow, louder_task, bundle):
    flow = workflow(louder_task, bundle=bundle)
    (first, *_) = items(flow, "train", 0, True)
    assert first["source"].meta["degradations"][0]["degradation"] == "Louder"


@pytest.mark.parametrize("bundle", ["cyclegan", "unit"])
def test_degraded_and_clean_scans_of_others_train_without_pairs(workflow, louder_task, bundle):
    flow = workflow(louder_task, bundle=bundle, companions=[])
    (first, *_) = items(flow, "train", 0, True)
    assert first["case"]["source"] != first["case"]["target"]
    assert first["source"].meta["degradations"]
    assert "degradations" not in getattr(first["target"], "meta", {})


def test_volumes_are_degraded_whole_before_patches_are_cut(workflow, louder_task, tiny_dataset):
    flow = workflow("three_d.json", louder_task, gain=[2.0, 2.0])
    (described, *_) = volume_items(tiny_dataset, "T1", "T1", "validation", companions=["CT"])
    images = [
        nibabel.load(described[key][0] if key == "source" else described[key]).get_fdata() for key in ("source", "CT")
    ]
    (item, *_) = items(flow, "validate", 0)
    expected = np.clip((2 * images[0] + images[1]) / 500 - 1, -1, 1)
    np.testing.assert_allclose(item["source"][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("bundle", ["medgan", "regression"])
def test_the_tasks_that_ship_have_no_key_that_nothing_reads(task, bundle):
    configs = ROOT / "bundles" / bundle / "configs"
    for overlays in ([task], ["quick.json", task], [task, "three_d.json"]):
        files = [configs / "train.json", *(configs / o if isinstance(o, str) else o for o in overlays)]
        check_keys([str(file) for file in files], {})


COARSE = {"super_resolution": {"thickness": [24.0, 36.0], "k_space": [24.0, 36.0]}}  # below a voxel nothing is lost


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Three coarse heads with everything that the tasks ask for."""
    from medtrans.cohorts import write_phantom_cohort

    folder = tmp_path_factory.mktemp("heads") / "set"
    write_phantom_cohort(folder, 3, ["T1", "PET", "CT"], 12.0)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda path: path.stem)
def test_the_tasks_that_ship_train_on_slices_and_simulate_volumes(workflow, task, heads, tmp_path):
    plan = Task.read(task, COARSE.get(task.stem, {}))
    flow = workflow(task, dataset=heads, **COARSE.get(task.stem, {}))
    train = [items(flow, "train", epoch, True)[-1]["source"] for epoch in (0, 1)]
    assert all(torch.isfinite(source).all() and source.shape == (1, 16, 16) for source in train)
    records = [source.meta["degradations"] for source in train]
    assert json.dumps(records[0]) != json.dumps(records[1])
    table = simulate_dataset(plan, heads, tmp_path / "simulated", workers=1)
    assert (table["status"] == "ok").all()
    for case in Cases.read(tmp_path / "simulated"):
        told = json.loads(case.volumes[plan.degraded].with_suffix(".json").read_text())["simulated"]
        names = [record["degradation"] for record in told["degradations"]]
        assert names == [record["degradation"] for record in records[0]]
        made, clean = (nibabel.load(case.volumes[name]).get_fdata() for name in (plan.degraded, plan.source))
        assert not np.allclose(made, clean)
        assert np.corrcoef(made.ravel(), clean.ravel())[0, 1] > 0.5
