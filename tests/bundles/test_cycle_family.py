"""The relatives of CycleGAN: pairs where they are asked for, both directions, several processes, volumes."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from medtrans.engines import run_inference

BUNDLES = Path(__file__).parents[2] / "bundles"
PAIRED, UNPAIRED = ("cyclegan_s", "generators_s"), ("cyclegan", "cycle_medgan")
SHORT = {"image_size": [16, 16], "batch_size": 2, "max_epochs": 1, "num_workers": 0}


@pytest.fixture(scope="module")
def workflow(training_workflow, small_settings):
    def begin(bundle, dataset, folder, *overlays, **settings):
        chosen = {**SHORT, **small_settings(BUNDLES / bundle), **settings}
        files = [BUNDLES / bundle / "configs" / name for name in ("train.json", *overlays)]
        return training_workflow(files, dataset, folder, **chosen)

    return begin


@pytest.mark.parametrize("bundle", [*PAIRED, *UNPAIRED])
def test_source_and_target_are_one_image_moved_alike_only_where_pairs_are_asked_for(
    workflow, bundle, tiny_dataset, tmp_path
):
    flow = workflow(bundle, tiny_dataset, tmp_path, target="T1")
    for batch in flow.parser.get_parsed_content("train::dataloader"):
        same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(batch["source"], batch["target"], strict=True)]
        assert all(same) if bundle in PAIRED else not any(same)


@pytest.mark.parametrize("bundle", PAIRED)
def test_each_direction_has_its_own_model(workflow, bundle, tiny_dataset, tmp_path):
    workflow(bundle, tiny_dataset, tmp_path).run()
    models = tmp_path / "models"
    forth, back = (torch.load(models / name, weights_only=True) for name in ("model.pt", "model_to_source.pt"))
    assert any(not torch.equal(forth[name], back[name]) for name in forth)
    for direction, modality in (("source_to_target", "T2"), ("target_to_source", "T1")):
        options = {"ckpt_dir": str(models), "direction": direction}
        (row,) = run_inference(BUNDLES / bundle, tiny_dataset, tmp_path / direction, (), options)
        assert modality in row["output"]
        assert np.isfinite(nib.load(tmp_path / direction / row["output"]).get_fdata()).all()


def test_generators_alone_have_no_discriminator_and_log_one_loss(workflow, tiny_dataset, tmp_path):
    flow = workflow("generators_s", tiny_dataset, tmp_path)
    flow.run()
    assert set(flow.parser.get_parsed_content("method").networks) == {"generator_to_target", "generator_to_source"}
    with (tmp_path / "eval/losses.csv").open() as file:
        names = set(next(csv.reader(file)))
    assert {name for name in names if name.startswith(("supervised", "discriminator"))} == {
        "supervised_to_target",
        "supervised_to_source",
    }


def test_volumes_are_cut_each_at_its_own_place(workflow, make_dataset, tmp_path):
    """Patches of 8 voxels: the target's corner does not follow from the source's."""
    dataset = make_dataset(tmp_path / "data", splits=("train",) * 3 + ("validation",), shape=(24, 24, 24))
    settings = {"image_size": [8, 8, 8], "batch_size": 1, "target": "T1"}
    flow = workflow("cyclegan", dataset, tmp_path, "three_d.json", **settings)
    crops = [t for t in flow.parser.get_parsed_content("train::augmentation") if type(t).__name__ == "RandSpatialCropd"]
    transform = flow.parser.get_parsed_content("train::dataset")
    corners = []
    for index in range(len(transform)):
        item = transform[0, index]
        assert item["source"].shape == item["target"].shape == (1, 8, 8, 8)
        corners.append([tuple(s.start for s in crop.cropper._slices) for crop in crops])
    assert all(source != target for source, target in corners)


CYCLE = {"generator_to_target", "generator_to_source", "discriminator_of_target", "discriminator_of_source"}
TOGETHER = {
    "cyclegan_s": CYCLE,
    "generators_s": {"generator_to_target", "generator_to_source"},
    "cycle_medgan": CYCLE,
    "bigan": {"generator", "discriminator"},
}


@pytest.mark.slow
@pytest.mark.parametrize("bundle", TOGETHER)
def test_two_processes_train_together(bundle, tiny_dataset, tmp_path, train_in_two_processes, networks_saved):
    train_in_two_processes(bundle, tiny_dataset, tmp_path)
    assert networks_saved(tmp_path) == TOGETHER[bundle]
    other = "discriminator.pt" if bundle == "bigan" else "model_to_source.pt"
    assert (tmp_path / "models" / other).is_file()
