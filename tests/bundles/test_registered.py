"""The overlay for misaligned pairs: the registration network belongs to the run, and to no trained model."""

import csv
import sys
from pathlib import Path

import pytest
import torch

PIX2PIX = Path(__file__).parents[2] / "bundles/pix2pix/configs"
SMALL = {
    "image_size": [20, 22],  # multiples of nothing
    "network_def::channels": [4, 4],
    "discriminator_def::channels": 4,
    "registration_def::channels": [4, 4, 4, 4],
    "batch_size": 2,
    "max_epochs": 1,
    "num_workers": 0,
    "threads": 1,
    "val_every": 8,
}


@pytest.fixture(scope="module")
def train(training_workflow):
    """Train pix2pix with the overlay; the parsed config."""

    def run(folder, dataset, *overlays, **settings):
        files = [PIX2PIX / f"{name}.json" for name in ("train", "registered", *overlays)]
        flow = training_workflow(files, dataset, folder, **SMALL | settings)
        flow.run()
        return flow.parser

    return run


def checkpoint(folder):
    return torch.load(folder / "models/checkpoint.pt", weights_only=True)


def test_the_registration_is_trained_and_kept_but_is_no_part_of_the_model(train, tmp_path, tiny_dataset):
    parser = train(tmp_path, tiny_dataset)
    kept = checkpoint(tmp_path)["network_registration"]
    last = [value for name, value in kept.items() if name.endswith("weight")][-1]
    assert last.abs().max() > 0, "it stayed as it was initialised"
    model = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert model.keys() == parser.get_parsed_content("network_def").state_dict().keys()
    with (tmp_path / "eval/losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {f"registered_{name}" for name in ("displacement", "shift", "roughness", "folding")} <= set(rows[0])
    assert float(rows[0]["registered_displacement"]) == 0 < float(rows[-1]["registered_displacement"])


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2}, {"precision": "bf16"}], ids=str)
def test_a_run_that_is_resumed_has_the_bits_of_one_that_was_not(train, tmp_path, tiny_dataset, settings):
    settings |= {"train::trainer::epoch_length": 3}
    for epochs in (1, 2):
        train(tmp_path / "broken", tiny_dataset, **settings | {"max_epochs": epochs})
    train(tmp_path / "straight", tiny_dataset, **settings | {"max_epochs": 2})
    one, other = (checkpoint(tmp_path / name) for name in ("broken", "straight"))
    for part in ("network_generator", "network_registration", "network_discriminator"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), f"{part} {name}"


def test_it_goes_with_three_dimensions(train, tmp_path, make_dataset):
    dataset = make_dataset(tmp_path / "data", shape=(20, 18, 13))
    small = {
        "image_size": [18, 17, 13],
        "patches": 1,
        "train::trainer::epoch_length": 1,
        "network_def::channels": [4, 4],
    }
    parser = train(tmp_path, dataset, "three_d", **small)
    assert parser.get_parsed_content("registration_def").mode == "trilinear"
    assert (tmp_path / "models/model.pt").is_file()


def test_without_its_parameters_in_the_optimiser_it_is_refused(train, tmp_path, tiny_dataset):
    forgotten = {"optimizers::generator::params": "$@network.parameters()"}
    with pytest.raises(RuntimeError) as raised:
        train(tmp_path, tiny_dataset, **forgotten)
    assert "optimizers#generator lacks its parameters" in str(raised.value.__cause__ or raised.value)


@pytest.mark.slow
def test_two_processes_train_one_registration(train, tmp_path, tiny_dataset, bundle_command, run_command):
    files = str([str(PIX2PIX / f"{name}.json") for name in ("train", "registered", "multi_gpu_train")])
    options = {key: str(value).replace(" ", "") for key, value in SMALL.items()} | {"batch_size": 1}
    outputs = {"dataset_dir": tiny_dataset, "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "eval"}
    words = bundle_command("training", files, tiny=False, **options, **outputs, device="$torch.device('cpu')")[2:]
    run_command(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", *words)
    two = checkpoint(tmp_path)
    train(tmp_path / "one", tiny_dataset)
    one = checkpoint(tmp_path / "one")
    assert two["run"]["iteration"] == one["run"]["iteration"]
    moved = 2e-4 * one["run"]["iteration"]  # as far as Adam can have moved a weight
    for part in ("network_generator", "network_registration"):
        assert two[part].keys() == one[part].keys()
        for name, value in one[part].items():
            assert (two[part][name] - value).abs().mean() < 0.2 * moved, f"{part} {name}"
