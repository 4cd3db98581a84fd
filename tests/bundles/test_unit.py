"""UNIT and its self-attention variants as bundles: one network of both directions, sharing that survives training."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser

from medtrans.engines import run_inference
from medtrans.losses import L1, Charbonnier
from medtrans.networks import SelfAttention

BUNDLES = ("unit", "attention_unit")
SHORT = {"image_size": [16, 16], "batch_size": 2, "max_epochs": 1, "num_workers": 0}
# The table of the self-attention paper (figure 7a): attention, Charbonnier, spectral normalisation.
TABLE = {
    "baseline": (None, L1, False),
    "charbonnier": (None, Charbonnier, False),
    "spectral": (None, L1, True),
    "attention_generator": ("generator", L1, False),
    "attention_generator_charbonnier": ("generator", Charbonnier, False),
    "attention_generator_charbonnier_spectral": ("generator", Charbonnier, True),
    "attention_encoder_charbonnier_spectral": ("encoder", Charbonnier, True),
}


class StoppedError(Exception):
    """A run that ends in the middle."""


def leaves(state, path=""):
    """Every tensor and plain value of nested dictionaries and lists, with its path."""
    if isinstance(state, dict | list):
        for key, part in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves(part, f"{path}/{key}")
    else:
        yield path, state


def equal(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.fixture(scope="module")
def workflow(root, training_workflow, small_settings):
    def begin(name, dataset, folder, **settings):
        bundle = root / "bundles" / name
        chosen = {**SHORT, **small_settings(bundle), **settings}
        return training_workflow([bundle / "configs/train.json"], dataset, folder, **chosen)

    return begin


@pytest.fixture(scope="module", params=BUNDLES)
def trained(request, workflow, tiny_dataset, tmp_path_factory):
    """Name of the bundle and the folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp(request.param)
    workflow(request.param, tiny_dataset, folder, learning_rate=1e-3).run()
    return request.param, folder


@pytest.fixture(scope="module")
def parsed(root):
    def read(name, *overlays, **overrides):
        parser = ConfigParser()
        parser.read_config([str(root / "bundles" / name / "configs" / file) for file in ("train.json", *overlays)])
        parser.update({"network_def::channels": 4, "discriminator_def::channels": 4, **overrides})
        return parser

    return read


def test_one_model_translates_both_ways_to_the_others_unit(root, trained, tiny_dataset, tmp_path):
    name, run = trained
    voxels = {}
    for direction, modality in (("source_to_target", "T2"), ("target_to_source", "T1")):
        folder = tmp_path / direction
        options = {"ckpt_dir": str(run / "models"), "direction": direction}
        (row,) = run_inference(root / "bundles" / name, tiny_dataset, folder, (), options)
        assert modality in row["output"]
        voxels[direction] = nib.load(folder / row["output"]).get_fdata()
    assert np.abs(voxels["source_to_target"] - voxels["target_to_source"]).max() > 0
    assert sorted(path.name for path in (run / "models").glob("model*.pt")) == ["model.pt"]


def test_what_is_translated_is_what_the_networks_direction_says(root, trained, workflow, tiny_dataset, tmp_path):
    """The way back is source's decoder after target's encoder, not the way there under another name."""
    name, run = trained
    network = workflow(name, tiny_dataset, tmp_path).parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(run / "models/model.pt", weights_only=True))
    image = torch.rand(1, 1, 16, 16) * 2 - 1
    for direction, of, to in (("source_to_target", "source", "target"), ("target_to_source", "target", "source")):
        parser = ConfigParser()
        parser.read_config(str(root / "bundles" / name / "configs/inference.json"))
        parser.update({"ckpt_dir": str(run / "models"), "direction": direction})
        inferring = parser.get_parsed_content("network_def").eval()
        inferring.load_state_dict(network.state_dict())
        with torch.no_grad():
            assert torch.equal(inferring(image), network.eval()(image, of, to))


def test_inner_blocks_are_trained_as_one_for_both_domains(trained, workflow, weights_of_both, tiny_dataset, tmp_path):
    """As the bundle builds, trains and saves the network; with its blocks apart no image tells, this does."""
    name, run = trained
    network = workflow(name, tiny_dataset, tmp_path).parser.get_parsed_content("network")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    saved = torch.load(run / "models/checkpoint.pt", weights_only=True)
    assert torch.load(run / "models/model.pt", weights_only=True).keys() == before.keys()
    network.load_state_dict(saved["network_generator"])
    shared = weights_of_both(network)
    assert {key.split(".")[0] for key in shared} == {"encoder_shared", "generator_shared"}
    assert all(not torch.equal(dict(network.named_parameters())[key], before[key]) for key in shared)
    # Adam has a single moment for each tensor, one of the shared blocks included
    assert len(saved["optimizer_generator"]["state"]) == len(list(network.parameters()))
    # what is changed in the shared blocks is changed for both
    images = torch.rand(2, 1, 16, 16) * 2 - 1
    ways = [("source", "code"), ("target", "code"), ("source", "target"), ("target", "source")]
    for blocks, of_them in ((network.encoder_shared, ways), (network.generator_shared, ways[2:])):
        with torch.no_grad():
            outputs = [network.eval()(images, *way) for way in of_them]
            for parameter in blocks.parameters():
                parameter.mul_(0.5).add_(0.1)
            changed = [network(images, *way) for way in of_them]
        assert all(not torch.allclose(one, other) for one, other in zip(outputs, changed, strict=True))


@pytest.mark.parametrize("name", BUNDLES)
def test_without_shared_blocks_nothing_is_trained_by_both_domains(
    name, workflow, weights_of_both, tiny_dataset, tmp_path
):
    flow = workflow(name, tiny_dataset, tmp_path, **{"network_def::shared_blocks": 0})
    assert not weights_of_both(flow.parser.get_parsed_content("network"))


@pytest.mark.parametrize("name", BUNDLES)
def test_a_run_stopped_inside_an_epoch_goes_on_to_the_same_bits(name, workflow, tiny_dataset, tmp_path):
    def stop(engine):
        raise StoppedError

    settings = {"max_epochs": 2, "checkpoint_every": 2}
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    workflow(name, tiny_dataset, straight, **settings).run()
    for iteration in (3, 17):  # in the first epoch of 13 batches, and in the second
        flow = workflow(name, tiny_dataset, broken, **settings)
        trainer = flow.parser.get_parsed_content("train::trainer")
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=iteration), stop)
        with pytest.raises(RuntimeError) as ended:
            flow.run()
        assert isinstance(ended.value.__cause__, StoppedError)
    workflow(name, tiny_dataset, broken, **settings).run()
    for file in ("checkpoint.pt", "model.pt"):
        one, other = (torch.load(folder / "models" / file, weights_only=True) for folder in (straight, broken))
        one, other = dict(leaves(one)), dict(leaves(other))
        assert one.keys() == other.keys()
        differing = [path for path, leaf in one.items() if not equal(leaf, other[path])]
        assert differing == []
    for file in ("losses.csv", "validation.csv"):
        assert (straight / "eval" / file).read_text() == (broken / "eval" / file).read_text()


def test_losses_and_weights_are_the_medical_implementations(parsed):
    parser = parsed("unit")
    losses = parser.get_parsed_content("losses")
    assert {name: term.weight for name, term in losses.items()} == {
        "adversarial": 10,
        "reconstruction": 100,
        "divergence": 0.1,
        "cycle": 100,
        "cycle_divergence": 0.1,
    }
    assert (losses["adversarial"].form, losses["adversarial"].discriminator_weight) == ("log", 10)
    for name in ("generator", "discriminator"):
        (group,) = parser.get_parsed_content(f"optimizers::{name}").param_groups
        assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.5, 0.999), 1e-4)


def test_later_has_the_authors_weights_networks_and_schedule(parsed, tiny_dataset):
    parser = parsed("unit", "later.json", dataset_dir=str(tiny_dataset), image_size=[16, 16], halving_steps=26)
    losses = parser.get_parsed_content("losses")
    weights = {"adversarial": 1, "reconstruction": 10, "divergence": 0.01, "cycle": 10, "cycle_divergence": 0.01}
    assert {name: term.weight for name, term in losses.items()} == weights
    assert (losses["adversarial"].form, losses["adversarial"].discriminator_weight) == ("least_squares", 1)
    schedule = parser.get_parsed_content("schedulers::generator")
    assert (schedule.step_size, schedule.gamma) == (1, 0.5)  # 26 slices, one a batch
    parser = parsed("unit", "later.json", **{"network_def::channels": 64, "discriminator_def::channels": 64})
    with torch.device("meta"):
        network, discriminator = (parser.get_parsed_content(f"{name}_def") for name in ("network", "discriminator"))
    assert sum(p.numel() for p in network.parameters()) == 2 * 11_127_937
    assert sum(p.numel() for p in discriminator.parameters()) == 8_265_027


@pytest.mark.parametrize("row", TABLE)
def test_every_row_of_the_attention_papers_table_is_an_overlay(row, parsed, root):
    attention, distance, spectral = TABLE[row]
    parser = parsed("attention_unit", f"ablations/{row}.json")
    network = parser.get_parsed_content("network_def")
    found = {name.split("_")[0] for name, module in network.named_modules() if isinstance(module, SelfAttention)}
    assert found == ({attention} if attention else set())
    for name in ("network_def", "discriminator_def", "discriminator_of_source_def"):
        names = list(parser.get_parsed_content(name).state_dict())
        kernels = [key for key in names if key.endswith((".weight", ".weight.original"))]
        assert all(key.endswith("original") is spectral for key in kernels), name
    losses = parser.get_parsed_content("losses")
    assert {type(losses[name].distance) for name in ("reconstruction", "cycle")} == {distance}


def test_the_bundle_is_the_papers_best_row_and_no_row_is_missing(parsed, root):
    overlays = (root / "bundles/attention_unit/configs/ablations").glob("*.json")
    assert {path.stem for path in overlays} == set(TABLE)
    best, row = (
        parsed("attention_unit"),
        parsed("attention_unit", "ablations/attention_encoder_charbonnier_spectral.json"),
    )
    assert best.get() == row.get()


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLES)
def test_two_processes_train_one_shared_latent_space(
    name, tiny_dataset, tmp_path, train_in_two_processes, networks_saved
):
    train_in_two_processes(name, tiny_dataset, tmp_path)
    assert networks_saved(tmp_path) == {"generator", "discriminator_of_target", "discriminator_of_source"}
    recorded = json.loads((tmp_path / "models/modalities.json").read_text())["settings"]["network"]
    assert recorded["_target_"] == "medtrans.networks.UNIT"
