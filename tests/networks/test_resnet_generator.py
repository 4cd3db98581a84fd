"""CycleGAN's generator: counts of the public implementation, layers of the paper, any size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from medtrans.networks import ResNetGenerator


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((2, 1, 1), 11_365_633),
        ((2, 3, 3), 11_378_179),
        ((3, 1, 1), 34_111_489),
    ],
)
def test_parameter_counts_of_the_public_implementations(arguments, count):
    with torch.device("meta"):
        assert parameters(ResNetGenerator(*arguments)) == count


def test_parameter_counts_for_other_depth_and_norm():
    with torch.device("meta"):
        assert parameters(ResNetGenerator(2, 1, 1, blocks=6)) == 7_825_153
        assert parameters(ResNetGenerator(2, 1, 1, norm="batch")) == 11_370_881
        assert parameters(ResNetGenerator(2, 3, 3, norm="batch")) == 11_383_427


def test_layers_compute_what_the_paper_lists():
    torch.manual_seed(0)
    network, image = ResNetGenerator(2, 1, 2, channels=4, blocks=2), torch.randn(2, 1, 16, 12)
    weights = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    shapes = [tuple(m.weight.shape) for m in weights]
    assert shapes[:3] == [(4, 1, 7, 7), (8, 4, 3, 3), (16, 8, 3, 3)]
    assert shapes[-3:] == [(16, 8, 3, 3), (8, 4, 3, 3), (2, 4, 7, 7)]

    def reflected(x, layer, width):
        return F.conv2d(F.pad(x, [width] * 4, mode="reflect"), layer.weight, layer.bias)

    x = F.relu(F.instance_norm(reflected(image, weights[0], 3)))
    for layer in weights[1:3]:
        x = F.relu(F.instance_norm(F.conv2d(x, layer.weight, layer.bias, 2, 1)))
    for first, second in (weights[3:5], weights[5:7]):
        y = F.relu(F.instance_norm(reflected(x, first, 1)))
        x = x + F.instance_norm(reflected(y, second, 1))
    for layer in weights[7:9]:
        x = F.relu(F.instance_norm(F.conv_transpose2d(x, layer.weight, layer.bias, 2, 1, 1)))
    torch.testing.assert_close(network(image), torch.tanh(reflected(x, weights[9], 3)), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(5, 21), min_size=3, max_size=3))
def test_any_size_and_number_of_channels_in_2d_and_3d(dims, in_channels, out_channels, sizes):
    network = ResNetGenerator(dims, in_channels, out_channels, channels=2, blocks=1)
    output = network(torch.randn(1, in_channels, *sizes[:dims]).clamp(-1, 1))
    assert output.shape == (1, out_channels, *sizes[:dims])
    assert output.abs().max() <= 1


def test_weights_start_from_a_normal_distribution_of_width_0_02():
    torch.manual_seed(0)
    network = ResNetGenerator(2, 1, 1, blocks=2)
    weights = torch.cat([p.detach().flatten() for n, p in network.named_parameters() if n.endswith("weight")])
    biases = torch.cat([p.detach().flatten() for n, p in network.named_parameters() if n.endswith("bias")])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert weights.mean().item() == pytest.approx(0, abs=1e-4)
    assert torch.all(biases == 0)


def test_dropout_acts_in_training_mode_only():
    torch.manual_seed(0)
    network, image = ResNetGenerator(2, 1, 1, channels=4, blocks=2, dropout=0.5), torch.randn(1, 1, 16, 16)
    assert not torch.equal(network.train()(image), network(image))
    assert torch.equal(network.eval()(image), network(image))


def test_network_can_be_scripted_for_export():
    network, image = ResNetGenerator(2, 1, 1, channels=4, blocks=2).eval(), torch.randn(1, 1, 13, 18)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="blocks is at least 0"):
        ResNetGenerator(2, 1, 1, blocks=-1)
