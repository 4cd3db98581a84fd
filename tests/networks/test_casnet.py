"""U-block and CasNet: sizes, counts and behaviour that the paper and pix2pix fix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.networks import CasNet, UBlock

AFFINE_FREE = ("instance", {"affine": False})
THIN = (4, 8, 8)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_a_u_block_has_the_parameters_of_the_reference_u_net():
    assert parameters(UBlock(2, 1, 1, norm=AFFINE_FREE)) == 54_403_457
    assert parameters(UBlock(2, 3, 3, norm=AFFINE_FREE)) == 54_409_603
    assert parameters(UBlock(2, 1, 1, norm="batch")) == 54_407_809


def test_casnet_of_six_blocks_has_six_times_the_parameters():
    with torch.device("meta"):
        assert parameters(CasNet(2, 1, 1, blocks=6, norm=AFFINE_FREE)) == 326_420_742


def test_affine_instance_norm_has_scale_and_offset_in_the_place_of_the_bias():
    with torch.device("meta"):
        affine, plain = parameters(UBlock(2, 1, 1)), parameters(UBlock(2, 1, 1, norm=AFFINE_FREE))
    encoder, decoder = 128 + 256 + 512 * 4, 512 * 4 + 256 + 128 + 64
    assert affine - plain == encoder + decoder


def test_every_parameter_gets_a_gradient_that_is_more_than_rounding_noise():
    torch.manual_seed(0)
    block = UBlock(2, 1, 1, channels=THIN)
    block(torch.randn(1, 1, 32, 32)).square().mean().backward()
    assert min(p.grad.abs().max() for p in block.parameters()) > 1e-6


def test_decoder_widths_are_those_the_paper_lists():
    entering = [stage[1].in_channels for stage in UBlock(2, 1, 1).decoder]
    assert entering == [512, 1024, 1024, 1024, 1024, 512, 256, 128]


def test_first_and_innermost_convolutions_are_not_normalised():
    block = UBlock(2, 1, 1, channels=THIN)
    normalised = [any("Norm" in type(m).__name__ for m in stage) for stage in block.encoder]
    assert normalised == [False, True, False]


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(5, 21), min_size=3, max_size=3))
def test_any_size_and_number_of_channels_in_2d_and_3d(dims, in_channels, out_channels, sizes):
    network = CasNet(dims, in_channels, out_channels, blocks=2, channels=THIN)
    image = torch.randn(1, in_channels, *sizes[:dims]).clamp(-1, 1)
    output = network(image)
    assert output.shape == (1, out_channels, *sizes[:dims])
    assert output.abs().max() <= 1


def test_padding_does_not_change_sizes_that_already_fit():
    torch.manual_seed(0)
    block, image = UBlock(2, 1, 1, channels=THIN), torch.randn(1, 1, 16, 24)
    stages = block.encoder, block.decoder
    skips = []
    x = image
    for stage in stages[0]:
        x = stage(x)
        skips.append(x)
    skips.pop()
    for stage in stages[1]:
        x = stage(x)
        x = torch.cat([x, skips.pop()], 1) if skips else x
    torch.testing.assert_close(block(image), x)


def test_training_and_evaluation_mode_agree_for_the_default_norm():
    torch.manual_seed(0)
    network, image = CasNet(2, 1, 1, blocks=2, channels=THIN), torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(network.train()(image), network.eval()(image), rtol=0, atol=0)


def test_each_block_refines_the_output_of_the_one_before():
    torch.manual_seed(0)
    network, image = CasNet(2, 1, 1, blocks=3, channels=THIN), torch.randn(1, 1, 16, 16)
    x = image
    for block in network.blocks:
        x = block(x)
    torch.testing.assert_close(network(image), x)


def test_checkpointing_gives_the_same_output_and_gradients():
    torch.manual_seed(0)
    network, image = CasNet(2, 1, 1, blocks=2, channels=THIN), torch.randn(1, 1, 16, 16)
    gradients = []
    for recompute in (False, True):
        network.checkpointing = recompute
        network.zero_grad()
        network(image).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_dropout_acts_in_training_mode_only():
    torch.manual_seed(0)
    network, image = UBlock(2, 1, 1, channels=(4, 4, 4, 4, 4), dropout=0.5), torch.randn(1, 1, 32, 32)
    assert not torch.equal(network.train()(image), network(image))
    assert torch.equal(network.eval()(image), network(image))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": 0}, "at least one block"),
        ({"channels": (8,)}, "two levels"),
        ({"intermediate_activation": "relu"}, "tanh"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CasNet(2, 1, 1, **{"blocks": 2, **arguments})


def test_network_can_be_scripted_for_export():
    network, image = CasNet(2, 1, 1, blocks=2, channels=THIN).eval(), torch.randn(1, 1, 13, 18)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))
