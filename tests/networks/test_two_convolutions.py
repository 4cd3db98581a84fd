"""Two convolutions: shapes, range, and how far it looks."""

import pytest
import torch

from medtrans.networks import TwoConvolutions


@pytest.mark.parametrize(("dims", "size"), [(2, (7, 12)), (3, (5, 6, 7))], ids=str)
def test_any_size_comes_out_as_it_went_in_and_within_the_range(dims, size):
    output = TwoConvolutions(dims, 2, 3)(50 * torch.randn(2, 2, *size))
    assert output.shape == (2, 3, *size)
    assert output.abs().max() <= 1


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_an_output_voxel_sees_two_kernels_wide(kernel_size):
    torch.manual_seed(0)
    image = torch.rand(1, 1, 31, 31, requires_grad=True)
    TwoConvolutions(2, 1, 1, kernel_size=kernel_size)(image)[0, 0, 15, 15].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [2 * kernel_size - 1] * 2


def test_it_has_two_convolutions_and_an_odd_kernel():
    layers = [module for module in TwoConvolutions(2, 1, 1).modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(layers) == 2
    with pytest.raises(ValueError, match="odd"):
        TwoConvolutions(2, 1, 1, kernel_size=4)
