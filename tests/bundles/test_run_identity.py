"""A refused run leaves the trained model's contract alone; inference builds the network that was trained."""

import json

import pytest
import torch
from monai.bundle import ConfigWorkflow

from medtrans.errors import input_error_behind

SETTINGS = {
    "image_size": [16, 16],
    "network_def::blocks": 2,
    "network_def::channels": [4, 4],
    "discriminator_def::channels": 4,
    "losses::style::weight": 0,
    "losses::content::weight": 0,
    "num_workers": 0,
    "max_epochs": 1,
    "val_interval": 2,
}


def train(root, dataset, folder, **changes):
    flow = ConfigWorkflow(
        config_file=str(root / "bundles/medgan/configs/train.json"),
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(dataset),
        ckpt_dir=str(folder / "models"),
        output_dir=str(folder / "eval"),
        **{**SETTINGS, **changes},
    )
    flow.initialize()
    flow.run()
    return flow


@pytest.fixture(scope="module")
def trained(root, tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    train(root, tiny_dataset, folder, **{"network_def::intermediate_activation": None})
    return folder


def test_the_last_epoch_is_validated_whatever_the_interval(trained):
    assert (trained / "models/model.pt").is_file()


def test_another_task_is_refused_and_the_contract_of_the_model_stays(trained, root, tiny_dataset):
    before = (trained / "models/modalities.json").read_bytes()
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        train(root, tiny_dataset, trained, source="T2", target="T1", max_epochs=2)
    assert "made with source T1, here it is T2" in str(input_error_behind(caught.value))
    assert (trained / "models/modalities.json").read_bytes() == before


def test_inference_builds_the_network_that_was_trained(trained, root, tiny_dataset):
    assert json.loads((trained / "models/modalities.json").read_text())["settings"]["intermediate_activation"] is None
    flow = ConfigWorkflow(
        config_file=str(root / "bundles/medgan/configs/inference.json"),
        workflow_type="inference",
        logging_file=False,
        input=str(tiny_dataset),
        ckpt_dir=str(trained / "models"),
        output_dir=str(trained / "out"),
    )
    flow.initialize()
    first_block = flow.parser.get_parsed_content("network_def").blocks[0]
    assert not any(isinstance(module, torch.nn.Tanh) for module in first_block.modules())
