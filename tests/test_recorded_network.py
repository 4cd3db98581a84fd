"""The network of a training is written down as it was evaluated, and built again as it was written down."""

import json

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medtrans import InputError, describe_network, recorded_network

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": "@spatial_dims",
    "in_channels": "$len(@source)",
    "out_channels": 1,
    "channels": "$tuple(2 * n for n in @widths)",
    "strides": ["@stride", "@stride"],
    "norm": ["instance", {"affine": True}],
    "dropout": "@nothing",
}
VALUES = {"spatial_dims": 2, "source": ["T1", "PD"], "widths": [2, 4, 8], "stride": 2, "nothing": "@zero", "zero": 0.0}


def described(network, **values):
    """What a training config with this network records."""
    config = {"imports": ["$import medtrans"], "network_def": network, **VALUES, **values}
    parser = ConfigParser({**config, "settings": {"network": "$medtrans.describe_network()"}})
    return parser.get_parsed_content("settings")["network"]


def test_references_and_expressions_become_values():
    assert described(NETWORK) == {
        "_target_": "UNet",
        "spatial_dims": 2,
        "in_channels": 2,
        "out_channels": 1,
        "channels": [4, 8, 16],
        "strides": [2, 2],
        "norm": ["instance", {"affine": True}],
        "dropout": 0.0,
    }


def test_the_recorded_network_takes_the_trained_weights():
    torch.manual_seed(0)
    recorded = json.loads(json.dumps(described(NETWORK)))
    built = recorded_network(recorded, "medtrans.networks.CasNet", spatial_dims=2, in_channels=1, out_channels=1)
    assert type(built) is UNet
    trained = UNet(2, 2, 1, (4, 8, 16), (2, 2), norm=("instance", {"affine": True}))
    built.load_state_dict(trained.state_dict())
    image = torch.rand(1, 2, 16, 16)
    torch.testing.assert_close(built.eval()(image), trained.eval()(image))


def test_components_inside_a_network_stay_components():
    network = {"_target_": "torch.nn.Sequential", "_mode_": "default", "inner": {"_target_": "torch.nn.ReLU"}}
    assert described({"_target_": "torch.nn.ModuleList", "modules": [network]})["modules"] == [network]
    by_name = {"_target_": "torch.nn.ModuleList", "modules": ["@part"]}
    assert described(by_name, part={"_target_": "torch.nn.ReLU"})["modules"] == [{"_target_": "torch.nn.ReLU"}]


def test_before_training_the_bundles_own_network_is_built():
    network = recorded_network(
        None, "medtrans.networks.TwoConvolutions", spatial_dims=2, in_channels=1, out_channels=1, filters=3
    )
    assert network.layers[0].out_channels == 3


def test_a_value_that_cannot_be_written_down_is_refused_before_training():
    network = {**NETWORK, "act": "$torch.nn.ReLU"}
    with pytest.raises(RuntimeError) as caught:
        described(network, imports=["$import medtrans", "$import torch"])
    assert "network_def: has an argument that cannot be written down" in str(caught.value.__cause__)


@pytest.mark.parametrize("written", ["$torch.nn.ReLU()", "@other"])
def test_a_network_that_is_no_component_is_not_recorded(written):
    imports = ["$import medtrans", "$import torch"]
    assert described(written, imports=imports, other={"_target_": "torch.nn.ReLU"}) is None


def test_a_network_of_a_package_that_is_not_here_is_named():
    with pytest.raises(InputError, match=r"the trained network elsewhere\.Net: cannot be built .*elsewhere"):
        recorded_network({"_target_": "elsewhere.Net"}, "medtrans.networks.CasNet")


def test_outside_a_config_there_is_nothing_to_describe():
    assert describe_network() is None


def test_a_file_that_a_setting_names_is_recorded_by_its_name_and_content(tmp_path):
    table = tmp_path / "poses.csv"
    setting = [{"_target_": "medtrans.simulate.MRMotiond", "keys": "source", "table": "@table", "severity": [1, 2]}]
    config = {"imports": ["$import medtrans"], "table": str(table), "train": {"degradation": setting}}
    told = []
    for content in ("1", "2", "1"):
        table.write_text(content)
        parser = ConfigParser({**config, "settings": "$medtrans.describe_setting('train::degradation')"})
        told.append(parser.get_parsed_content("settings"))
    ((first,), (second,), (again,)) = told
    assert first == again
    assert {**first, "table": ""} == {**setting[0], "table": ""}
    # echo -n 1 | sha256sum
    assert first["table"] == "poses.csv (sha256 6b86b273ff34fce1)"
    assert second["table"] == "poses.csv (sha256 d4735e3a265e16ee)"
