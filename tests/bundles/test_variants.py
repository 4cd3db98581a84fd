"""Every overlay of every bundle trains: ablations, other patches, other depths, the quick setting, three dimensions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from medtrans.bundle import check_keys
from medtrans.errors import input_error_behind

BUNDLES = Path(__file__).parents[2] / "bundles"
OVERLAYS = sorted(
    path.relative_to(BUNDLES)
    for path in BUNDLES.glob("*/configs/**/*.json")
    if path.name not in ("train.json", "inference.json", "evaluate.json", "metadata.json", "multi_gpu_train.json")
)
# What the paper trains with in Table I, and in the study of the patch size and of the depth (figure 6).
ABLATIONS = {
    "cgan": {"adversarial", "discriminator", "discriminator_adversarial"},
    "perceptual_only": {"perceptual", "discriminator", "discriminator_adversarial"},
    "style_content_only": {"style", "content"},
}


@pytest.fixture(scope="module")
def dataset(make_dataset, tmp_path_factory):
    """Volumes that are large enough for the SSIM of three dimensions."""
    return make_dataset(tmp_path_factory.mktemp("data") / "set", shape=(20, 18, 13))


def small(overlay, small_settings):
    """What makes the bundle with the overlay small, but for what the overlay is about."""
    own = json.loads((BUNDLES / overlay).read_text())
    chosen = small_settings(BUNDLES / overlay.parts[0], BUNDLES / overlay)
    chosen |= {"image_size": [32] * (3 if overlay.stem == "three_d" else 2), "batch_size": 2, "val_every": 8}
    chosen |= {"max_epochs": 1, "num_workers": 0, "generator_steps": 1, "train::trainer::epoch_length": 1}
    if overlay.stem == "style_content_only":  # without these two nothing is left to train with
        del chosen["losses::style::weight"], chosen["losses::content::weight"]
        chosen["features::weights"] = "random"
    if "features" in own:
        chosen["features::weights"] = "random"
    kept = {"network_def::blocks", "generator_steps"}
    return {key: value for key, value in chosen.items() if key not in kept or key not in own}


@pytest.fixture(scope="module")
def workflow(training_workflow):
    def begin(overlay, dataset, folder, **settings):
        files = [BUNDLES / overlay.parts[0] / "configs/train.json", BUNDLES / overlay]
        return training_workflow(files, dataset, folder, **settings)

    return begin


@pytest.mark.parametrize("overlay", OVERLAYS, ids=str)
def test_every_overlay_trains(workflow, overlay, dataset, tmp_path, small_settings):
    check_keys([str(BUNDLES / overlay.parts[0] / "configs/train.json"), str(BUNDLES / overlay)], {})
    flow = workflow(overlay, dataset, tmp_path, **small(overlay, small_settings))
    flow.run()
    with (tmp_path / "eval/losses.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert all(np.isfinite(float(value)) for value in row.values())
    assert (tmp_path / "models/model.pt").is_file()
    if overlay.stem in ABLATIONS:
        watched = {name for name in row if name.startswith("gradient_") or "_accuracy_" in name or "_logit_" in name}
        assert set(row) - watched - {"epoch", "iteration", "loss"} == ABLATIONS[overlay.stem]
    if overlay.stem.startswith("depth_"):
        assert len(flow.parser.get_parsed_content("network_def").blocks) == int(overlay.stem[-1])


def test_without_adversarial_and_perceptual_loss_there_is_no_discriminator(workflow, dataset, tmp_path, small_settings):
    overlay = Path("medgan/configs/ablations/style_content_only.json")
    flow = workflow(overlay, dataset, tmp_path, **small(overlay, small_settings))
    method = flow.parser.get_parsed_content("method")
    assert set(method.networks) == set(method.optimizers) == {"generator"}
    assert "discriminator_def" not in flow.parser.ref_resolver.resolved_content


@pytest.mark.parametrize(("name", "field"), [("patch_16", 16), ("patch_70", 70)])
def test_a_logit_judges_a_patch_of_the_named_size(name, field):
    flow = ConfigWorkflow(
        config_file=[str(BUNDLES / "medgan/configs" / file) for file in ("train.json", f"ablations/{name}.json")],
        workflow_type="train",
        logging_file=False,
        **{"discriminator_def::channels": 2, "discriminator_def::norm": None},  # a norm sees the whole image
    )
    discriminator = flow.parser.get_parsed_content("discriminator_def").eval()
    image = torch.rand(1, 2, 160, 160, requires_grad=True)
    logits = discriminator(image)[-1]
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [field, field]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in BUNDLES.glob("*/method.json")))
def test_several_processes_are_told_nothing_that_the_bundle_does_not_have(name):
    configs = BUNDLES / name / "configs"
    check_keys([str(configs / "train.json"), str(configs / "multi_gpu_train.json")], {})
    train, several = (json.loads((configs / f).read_text()) for f in ("train.json", "multi_gpu_train.json"))
    assert ("discriminator" in several) == ("discriminator" in train)


def test_regression_samples_patches_of_the_body(workflow, dataset, tmp_path, small_settings):
    overlay = Path("regression/configs/three_d.json")
    settings = small(overlay, small_settings) | {"image_size": [8, 8, 8]}
    flow = workflow(overlay, dataset, tmp_path, **settings)
    transform = flow.parser.get_parsed_content("train::augmentation")
    volume = torch.full((1, 40, 36, 30), -1.0)
    mask = torch.zeros(1, 40, 36, 30)
    volume[:, 4:16, 20:30, 2:14] = torch.rand(12, 10, 12)
    mask[:, 4:16, 20:30, 2:14] = 1
    for _ in range(8):
        item = {"source": volume.clone(), "target": volume.clone(), "mask": mask.clone()}
        for step in transform:
            item = step(item)
        assert item["source"].shape == (1, 8, 8, 8)
        assert item["mask"].min() == 1
        assert item["source"].min() >= 0


def test_the_learning_rate_of_regression_falls_to_zero_as_a_polynomial(workflow, dataset, tmp_path, small_settings):
    settings = small_settings(BUNDLES / "regression") | {"image_size": [16, 16], "num_workers": 0}
    train = Path("regression/configs/train.json")
    flow = workflow(train, dataset, tmp_path, max_epochs=4, **settings)
    trainer, optimizer = (flow.parser.get_parsed_content(x) for x in ("train::trainer", "optimizers::generator"))
    rates = []
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda _: rates.append(optimizer.param_groups[0]["lr"]))
    flow.run()
    np.testing.assert_allclose(rates, [1e-3 * (1 - epoch / 4) ** 0.9 for epoch in range(4)], rtol=1e-6)
    with pytest.raises(RuntimeError) as caught:  # the schedule has this length: with another it is another run
        workflow(train, dataset, tmp_path, max_epochs=6, **settings).run()
    assert "made with max_epochs 4, here it is 6" in str(input_error_behind(caught.value))
