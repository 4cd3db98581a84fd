"""A refused run leaves the trained model's contract alone; inference builds the network that was trained."""

import json

import pytest
import torch
from monai.networks.nets import BasicUNet

from medtrans.errors import input_error_behind

SETTINGS = {
    "image_size": [16, 16],
    "discriminator_def::channels": 4,
    "losses::style::weight": 0,
    "losses::content::weight": 0,
    "num_workers": 0,
    "max_epochs": 1,
    "val_interval": 2,
}


@pytest.fixture(scope="module")
def train(root, training_workflow):
    def run(dataset, folder, **changes):
        if "network_def" not in changes:
            changes |= {"network_def::blocks": 2, "network_def::channels": [4, 4]}
        flow = training_workflow(
            [root / "bundles/medgan/configs/train.json"], dataset, folder, **{**SETTINGS, **changes}
        )
        flow.run()
        return flow

    return run


@pytest.fixture(scope="module")
def inference(root, inference_workflow):
    """``inference(dataset, folder)``: of the model that is in ``folder``."""

    def of(dataset, folder):
        places = {"input": str(dataset), "ckpt_dir": str(folder / "models"), "output_dir": str(folder / "out")}
        return inference_workflow(root / "bundles/medgan/configs/inference.json", **places)

    return of


@pytest.fixture(scope="module")
def trained(train, tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    train(tiny_dataset, folder, **{"network_def::intermediate_activation": None})
    return folder


def test_the_last_epoch_is_validated_whatever_the_interval(trained):
    assert (trained / "models/model.pt").is_file()


def test_another_task_is_refused_and_the_contract_of_the_model_stays(train, trained, tiny_dataset):
    before = (trained / "models/modalities.json").read_bytes()
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        train(tiny_dataset, trained, source="T2", target="T1", max_epochs=2)
    assert "made with source T1, here it is T2" in str(input_error_behind(caught.value))
    assert (trained / "models/modalities.json").read_bytes() == before


def test_inference_builds_the_network_that_was_trained(trained, inference, tiny_dataset):
    recorded = json.loads((trained / "models/modalities.json").read_text())["settings"]["network"]
    assert recorded["intermediate_activation"] is None
    flow = inference(tiny_dataset, trained)
    first_block = flow.parser.get_parsed_content("network_def").blocks[0]
    assert not any(isinstance(module, torch.nn.Tanh) for module in first_block.modules())


def test_other_losses_are_refused_on_the_way(train, trained, tiny_dataset):
    with pytest.raises(RuntimeError) as caught:
        train(tiny_dataset, trained, max_epochs=2, **{"losses::perceptual::weight": 10})
    assert "made with losses {'adversarial': 1.0, 'perceptual': 20.0" in str(input_error_behind(caught.value))


def test_a_network_of_another_class_is_built_again(train, inference, tiny_dataset, tmp_path):
    network = {
        "_target_": "BasicUNet",  # MONAI's, by its short name
        "spatial_dims": "@spatial_dims",
        "in_channels": "@in_channels",
        "out_channels": "$len([@target])",
        "features": [4, 4, 4, 4, 4, 4],
        "act": ["leakyrelu", {"negative_slope": 0.1, "inplace": True}],
    }
    train(tiny_dataset, tmp_path, network_def=network, image_size=[32, 32])
    state = torch.load(tmp_path / "models/model.pt", weights_only=True)
    flow = inference(tiny_dataset, tmp_path)
    built = flow.parser.get_parsed_content("network_def")
    assert type(built) is BasicUNet
    built.load_state_dict(state)
    flow.run()
    assert list((tmp_path / "out").glob("*_T2_synthetic.nii.gz"))
