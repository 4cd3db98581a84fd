"""The residual U-Net: any size and channels, two and three dimensions, what bounds its output."""

import pytest
import torch
from monai.networks.nets import DynUNet

from medtrans.networks import ResidualUNet


@pytest.mark.parametrize(("dims", "size"), [(2, (32, 32)), (2, (37, 51)), (3, (16, 17, 21)), (2, (9, 9))], ids=str)
def test_any_size_and_any_channels_come_out_as_they_went_in(dims, size):
    network = ResidualUNet(dims, 2, 3, channels=(4, 6, 8))
    assert network(torch.rand(2, 2, *size)).shape == (2, 3, *size)


def test_padding_changes_nothing_where_none_is_needed():
    torch.manual_seed(0)
    network = ResidualUNet(2, 1, 1, channels=(4, 6, 8), activation=None).eval()
    image = torch.rand(1, 1, 32, 32)
    assert isinstance(network.unet, DynUNet)
    torch.testing.assert_close(network(image), network.unet(image))


def test_the_output_is_linear_or_bounded():
    torch.manual_seed(0)
    linear, bounded = (ResidualUNet(2, 1, 1, (4, 6, 8), activation=name) for name in (None, "tanh"))
    bounded.load_state_dict(linear.state_dict())
    image = 50 * torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(bounded(image), torch.tanh(linear(image)))


def test_blocks_are_residual():
    """With its convolutions at zero a residual block passes its input on; a plain one would give nothing."""
    network = ResidualUNet(2, 1, 1, (4, 4, 4), norm=("instance", {"affine": True}))
    block = network.unet.bottleneck
    torch.nn.init.zeros_(block.conv2.conv.weight)
    image = torch.rand(1, 4, 8, 8)
    assert block(image).abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"), [({"channels": (4, 8)}, "three levels"), ({"activation": "relu"}, "'tanh' or None")]
)
def test_wrong_settings_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        ResidualUNet(2, 1, 1, **options)
