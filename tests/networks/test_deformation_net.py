"""The deformation network: the identity at the start, any size, and displacements in voxels of the image."""

import pytest
import torch

from medtrans.networks import DeformationNet


def perturbed(network):
    """``network`` as if it had been trained a little."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(("dims", "size"), [(2, (32, 32)), (2, (31, 45)), (3, (9, 16, 21))])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_starts_as_the_identity_for_any_size_and_number_of_channels(dims, size, channels):
    moving, fixed = torch.rand(2, 2, channels, *size)
    field = DeformationNet(dims, channels, (4, 4, 4, 4))(moving, fixed)
    assert field.shape == (2, dims, *size)
    assert torch.equal(field, torch.zeros_like(field))


def test_it_learns_from_the_start():
    moving, fixed = torch.rand(2, 2, 1, 16, 16)
    network = DeformationNet(2, 1, (4, 4, 4, 4))
    network(moving, fixed).sum().backward()
    last = [p for p in network.parameters() if p.ndim == 4][-1]
    assert last.grad.abs().max() > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_a_coarse_field_is_in_voxels_of_the_image(dims):
    network = DeformationNet(dims, 1, (4, 4, 4, 4), shrink=2)
    last = [p for p in network.unet.parameters() if p.ndim == 1][-1]
    last.data = torch.arange(1.0, dims + 1)  # a constant of 1, 2 (and 3) voxels of the coarse grid
    field = network(*torch.rand(2, 1, 1, *(13,) * dims))
    for axis in range(dims):
        torch.testing.assert_close(field[:, axis], torch.full_like(field[:, axis], 2.0 * (axis + 1)))


def test_a_coarse_field_lies_where_the_image_does():
    """The network as the identity on the first channel: a ramp comes out as a ramp, whatever the shrinkage."""
    ramp = torch.arange(24.0).view(1, 1, 24, 1).expand(1, 1, 24, 24)
    network = DeformationNet(2, 1, (4, 4, 4, 4), shrink=4)
    network.unet = torch.nn.Identity()
    field = network(ramp, ramp)[0, 0] / 4
    torch.testing.assert_close(field[2:-2], ramp[0, 0, 2:-2], rtol=0, atol=1e-5)


def test_the_field_is_float32_under_autocast_and_close_to_that_without():
    network, pair = perturbed(DeformationNet(2, 1, (8, 8, 8, 8))), torch.rand(2, 1, 1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(*pair)
    full = network(*pair)
    assert low.dtype == torch.float32
    assert full.abs().max() > 0.01
    torch.testing.assert_close(low, full, rtol=0.1, atol=0.05 * full.abs().max().item())


def test_a_shrinkage_below_one_is_refused():
    with pytest.raises(ValueError, match="shrink is at least 1"):
        DeformationNet(2, 1, shrink=0)
