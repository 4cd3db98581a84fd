"""Spectral norm as a switch: on any network, once, and shared where the weight is shared."""

import pytest
import torch
from torch import nn

from medtrans.networks import UNIT, MultiScaleDiscriminator, ResNetGenerator, folded, spectrally_normalised


def layers(network):
    kinds = nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear
    return [module for module in network.modules() if isinstance(module, kinds)]


def largest_singular_value(layer):
    weight = layer.weight.detach()
    if isinstance(layer, nn.ConvTranspose2d):  # its first axis is the input's
        weight = weight.transpose(0, 1)
    return torch.linalg.svdvals(weight.flatten(1))[0].item()


@pytest.mark.parametrize(
    "network",
    [
        ResNetGenerator(2, 1, 1, channels=4, blocks=1),
        UNIT(2, 1, 1, channels=4, spectral=True),
        MultiScaleDiscriminator(2, 1, channels=4, scales=2, spectral=True),
    ],
    ids=["resnet", "unit", "multi-scale"],
)
def test_every_layers_largest_singular_value_becomes_one(network):
    torch.manual_seed(0)
    spectrally_normalised(network).train()
    image = torch.randn(1, 1, 32, 32)
    for _ in range(60):  # one step of the power iteration in each pass
        for arguments in [("source", "target"), ("target", "source")] if isinstance(network, UNIT) else [()]:
            network(image, *arguments)
    values = [largest_singular_value(layer) for layer in layers(network)]
    assert len(values) >= 8
    assert values == pytest.approx([1.0] * len(values), abs=3e-2)


def test_switching_it_on_twice_is_switching_it_on_once():
    torch.manual_seed(0)
    network = spectrally_normalised(ResNetGenerator(2, 1, 1, channels=4, blocks=1)).eval()
    image = torch.randn(1, 1, 16, 16)
    before, names = network(image), list(network.state_dict())
    assert list(spectrally_normalised(network).state_dict()) == names
    assert torch.equal(network(image), before)


def test_a_pass_with_gradient_may_follow_another_before_the_update():
    """A cycle passes through the same generator several times before its gradient is taken."""
    network = spectrally_normalised(nn.Conv2d(1, 1, 3, padding=1)).train()
    network(network(torch.randn(1, 1, 8, 8))).sum().backward()
    assert torch.isfinite(network.parametrizations.weight.original.grad).all()


def test_folding_keeps_what_the_network_says_and_leaves_plain_shared_weights():
    torch.manual_seed(0)
    network = UNIT(2, 1, 1, channels=4, attention="encoder", spectral=True)
    image = torch.randn(1, 1, 16, 16)
    network(image)  # a step of the power iteration
    before = network.eval()(image)
    shared = network.encoder_shared[0].branch[0]
    assert torch.equal(folded(network)(image), before)
    assert not any("parametrizations" in name for name in network.state_dict())
    assert network.encoder_shared[0].branch[0] is shared
