"""What every bundle ships with is what its paper, or the comparison in MedGAN's, trains with."""

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

BUNDLES = Path(__file__).parents[2] / "bundles"
WEIGHTS = {
    "medgan": {"adversarial": 1, "perceptual": 20, "style": 1e-4, "content": 1e-4},
    "pix2pix": {"adversarial": 1, "l1": 100},
    "pan": {"adversarial": 1, "perceptual": 20},
    "id_cgan": {"adversarial": 1, "l2": 150, "content": 1e-4},
    "fila_sgan": {"adversarial": 1, "l1": 100, "style": 1e-4, "content": 1e-4, "total_variation": 1},
    "regression": {"l1_body": 1, "l1": 0.1},
    "simple": {"l1": 1},
    "cyclegan": {"adversarial": 1, "cycle": 10, "identity": 5},
    "cyclegan_s": {"adversarial": 1, "cycle": 10, "identity": 5, "supervised": 10},
    "generators_s": {"supervised": 1},
    "cycle_medgan": {"adversarial": 1, "cycle": 10, "identity": 5, "cycle_perceptual": 1, "cycle_style": 10000},
    "bigan": {"adversarial": 1, "reconstruction": 10},
}
CYCLE_FAMILY = ("cyclegan", "cyclegan_s", "generators_s", "cycle_medgan")
BASELINES = ("pix2pix", "pan", "id_cgan", "fila_sgan")


def config(name):
    return json.loads((BUNDLES / name / "configs/train.json").read_text())


@pytest.mark.parametrize("name", WEIGHTS)
def test_losses_and_their_weights(name):
    assert {term: written["weight"] for term, written in config(name)["losses"].items()} == WEIGHTS[name]


@pytest.mark.parametrize("name", [*BASELINES, "medgan", "simple"])
def test_the_comparison_trains_all_methods_alike(name):
    written = config(name)
    assert (written["image_size"], written["batch_size"], written["max_epochs"]) == ([256, 256], 1, 200)
    assert written["learning_rate"] == 2e-4
    for optimizer in written["optimizers"].values():
        assert (optimizer["_target_"], optimizer["betas"]) == ("torch.optim.Adam", [0.5, 0.999])
    assert written["schedulers"] == {}


@pytest.mark.parametrize("name", BASELINES)
def test_the_baselines_have_one_u_block_and_patches_of_sixteen(name):
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / name / "configs/train.json"))
    network, discriminator = (parser.get_parsed_content(x) for x in ("network_def", "discriminator_def"))
    # the public pix2pix with batch norm, and the biases of the two convolutions that no norm follows here
    assert sum(p.numel() for p in network.parameters()) == 54_407_809 + 64 + 512
    assert discriminator(torch.rand(1, 2, 256, 256))[-1].shape[2:] == (126, 126)
    assert parser.get_parsed_content("generator_steps") == 1


def test_pan_leaves_the_pixels_out_and_keeps_a_margin():
    perceptual = config("pan")["losses"]["perceptual"]
    assert perceptual["layers"] == [0, 1, 1]
    # 3 where the authors' weights of the layers sum up to 5 + 1.5 + 1.5 + 1
    assert perceptual["margin"] == pytest.approx(3 * perceptual["weight"] * sum(perceptual["layers"]) / 9, abs=0.05)


@pytest.mark.parametrize("name", CYCLE_FAMILY)
def test_the_cycle_family_has_the_published_networks_and_schedule(name):
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / name / "configs/train.json"))
    counts = {"network_def": 11_365_633, "network_to_source_def": 11_365_633}
    if name != "generators_s":
        counts |= {"discriminator_def": 2_762_689, "discriminator_of_source_def": 2_762_689}
        assert parser.get_parsed_content("pool_size") == 50
    for network, parameters in counts.items():
        assert sum(p.numel() for p in parser.get_parsed_content(network).parameters()) == parameters
    written = config(name)
    batch_and_epochs = (64, 50) if name == "cycle_medgan" else (1, 200)
    assert (written["batch_size"], written["max_epochs"]) == batch_and_epochs
    assert (written["image_size"], written["learning_rate"]) == ([256, 256], 2e-4)
    for key, optimizer in written["optimizers"].items():
        assert (optimizer["_target_"], optimizer["betas"]) == ("torch.optim.Adam", [0.5, 0.999])
        assert written["schedulers"][key]["_target_"] == "medtrans.methods.LinearDecay"


@pytest.mark.parametrize("name", CYCLE_FAMILY)
def test_only_what_needs_pairs_gets_them(name):
    unpaired = config(name)["train"]["dataset"]["_target_"] == "medtrans.cohorts.UnpairedDataset"
    assert unpaired == ("supervised" not in config(name)["losses"])


@pytest.mark.parametrize("name", ["regression", "simple", "generators_s"])
def test_without_an_adversary_there_is_no_discriminator_anywhere(name):
    written = config(name)
    assert not any("discriminator" in key for key in (*written, *written["optimizers"], *written["method"]))
    assert "Adversarial" not in json.dumps(written)
