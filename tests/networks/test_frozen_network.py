"""Networks from bundles and TorchScript files: the same output as in the file, frozen, scaled, refused when broken."""

import json

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from medtrans import InputError
from medtrans.networks import FrozenNetwork

DEFINITION = {
    "_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]
}  # fmt: skip


def network(dims=2):
    torch.manual_seed(4)
    return UNet(dims, 1, 3, (4, 8), (2,)).eval()


def bundle(folder, config="inference.json", state=None):
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    text = {"imports": ["$import os"], "classes": 3, "network_def": DEFINITION | {"out_channels": "@classes"}}
    if config.endswith("json"):
        (folder / "configs" / config).write_text(json.dumps(text))
    else:
        (folder / "configs" / config).write_text(
            "classes: 3\nnetwork_def:\n  _target_: UNet\n  spatial_dims: 2\n  in_channels: 1\n"
            "  out_channels: '@classes'\n  channels: [4, 8]\n  strides: [2]\n"
        )
    torch.save(state or network().state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.mark.parametrize("config", ["inference.json", "train.json", "inference.yaml"])
def test_a_bundles_network_gives_what_the_bundle_gives(config, tmp_path):
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    (found,) = FrozenNetwork(bundle(tmp_path / "seg", config))(image)
    torch.testing.assert_close(found, network()(image))


def test_weights_in_a_checkpoint_under_model(tmp_path):
    image = torch.rand(1, 1, 16, 16)
    folder = bundle(tmp_path / "seg", state={"model": network().state_dict()})
    torch.testing.assert_close(FrozenNetwork(folder)(image)[0], network()(image))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_torchscript_file_gives_what_it_gave_when_saved(dims, tmp_path):
    image = torch.rand(1, 1, *[16] * dims) * 2 - 1
    torch.jit.trace(network(dims), image).save(str(tmp_path / "seg.ts"))
    torch.testing.assert_close(FrozenNetwork(tmp_path / "seg.ts")(image)[0], network(dims)(image))


def test_a_bundle_that_holds_a_script_only(tmp_path):
    (tmp_path / "models").mkdir()
    image = torch.rand(1, 1, 16, 16)
    torch.jit.trace(network(), image).save(str(tmp_path / "models/model.ts"))
    torch.testing.assert_close(FrozenNetwork(tmp_path)(image)[0], network()(image))


class Input(nn.Module):
    """Gives back what it is given, twice."""

    def forward(self, x):
        return x, x


@pytest.fixture
def echo(tmp_path):
    torch.jit.script(Input()).save(str(tmp_path / "echo.ts"))
    return tmp_path / "echo.ts"


def test_the_input_is_scaled_to_what_the_network_knows(echo):
    image = torch.tensor([[[[-1.0, 0.0, 1.0]]]])
    assert FrozenNetwork(echo, scale=(-1024, 2000))(image)[0].flatten().tolist() == [-1024, 488, 2000]
    assert FrozenNetwork(echo)(image)[0].flatten().tolist() == [-1, 0, 1]


def test_z_scores_are_numpys_channel_by_channel(echo):
    image = torch.rand(2, 3, 5, 6)
    (found,) = FrozenNetwork(echo, z_score=True)(image)
    values = image.numpy()
    expected = (values - values.mean((2, 3), keepdims=True)) / values.std((2, 3), keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(FrozenNetwork(echo, z_score=True)(torch.ones(1, 1, 4, 4))[0]).all()


def test_gradients_reach_the_image_but_not_the_weights(tmp_path):
    trained = FrozenNetwork(bundle(tmp_path / "seg")).train()
    image = torch.rand(1, 1, 16, 16, requires_grad=True)
    trained(image)[0].sum().backward()
    assert image.grad.abs().sum() > 0
    assert not trained.network.training
    assert not any(p.requires_grad for p in trained.parameters())


def test_what_is_missing_or_broken_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        FrozenNetwork(tmp_path / "nowhere").load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no configs/inference\.json"):
        FrozenNetwork(tmp_path / "empty").load()
    folder = bundle(tmp_path / "untrained")
    (folder / "models/model.pt").unlink()
    with pytest.raises(InputError, match=r"has no models/model\.pt"):
        FrozenNetwork(folder).load()
    (tmp_path / "text.ts").write_text("no network")
    with pytest.raises(InputError, match="cannot be read as a network"):
        FrozenNetwork(tmp_path / "text.ts").load()
    other = bundle(tmp_path / "other", state=nn.Conv2d(1, 1, 1).state_dict())
    with pytest.raises(InputError, match="cannot be read as a network"):
        FrozenNetwork(other).load()
