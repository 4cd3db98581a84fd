"""Displacement fields: sign and units of the warp, roughness and Jacobian against closed forms and SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates

from medtrans.losses.deformation import folding, jacobian, mean_displacement, roughness, warped


def linear_field(matrix, size):
    """φ(p) = A p in voxels, ``(1, d, *size)``."""
    place = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij"))
    return torch.einsum("ij,j...->i...", torch.as_tensor(matrix, dtype=torch.float64), place)[None]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_field_of_whole_voxels_shows_what_lies_there(dims):
    image = torch.rand(1, 2, *(8, 9, 10)[:dims])
    for axis in range(dims):
        field = torch.zeros(1, dims, *image.shape[2:])
        field[:, axis] = 2
        moved = warped(image, field)
        here, there = moved.narrow(axis + 2, 0, 6), image.narrow(axis + 2, 2, 6)
        torch.testing.assert_close(here, there, rtol=0, atol=1e-5)
        beyond = moved.narrow(axis + 2, image.shape[axis + 2] - 1, 1)
        torch.testing.assert_close(beyond, image.narrow(axis + 2, image.shape[axis + 2] - 1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_warping_agrees_with_scipy(dims):
    random = np.random.default_rng(0)
    size = (12, 14, 9)[:dims]
    image, field = random.normal(size=size), gaussian_filter(random.normal(size=(dims, *size)), (0, *[2] * dims)) * 20
    wanted = map_coordinates(image, np.indices(size) + field, order=1, mode="nearest")
    found = warped(torch.tensor(image)[None, None], torch.tensor(field)[None])
    np.testing.assert_allclose(found[0, 0], wanted, atol=1e-9)


def test_warping_is_in_float32_under_autocast():
    image, field = torch.rand(1, 1, 8, 8, dtype=torch.bfloat16), torch.full((1, 2, 8, 8), 0.3, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert warped(image, field).dtype == torch.float32


def test_gradients_of_the_warp_are_right():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    field = (0.3 + 0.2 * torch.rand(1, 2, 5, 6, dtype=torch.float64)).requires_grad_()  # between voxels: no kinks
    assert torch.autograd.gradcheck(warped, (image, field))


@pytest.mark.parametrize("dims", [2, 3])
def test_roughness_of_a_linear_field_is_the_mean_square_of_its_matrix(dims):
    matrix = np.random.default_rng(1).normal(size=(dims, dims))
    found = roughness(linear_field(matrix, (7, 8, 9)[:dims]) + 5.0)
    assert found.item() == pytest.approx((matrix**2).sum() / dims, rel=1e-9)  # a shift has no part in it


@pytest.mark.parametrize("dims", [2, 3])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_jacobian_of_a_linear_field_is_its_determinant(dims, seed):
    matrix = np.random.default_rng(seed).normal(size=(dims, dims))
    found = jacobian(linear_field(matrix, (5, 4, 6)[:dims]))
    np.testing.assert_allclose(found, np.linalg.det(np.eye(dims) + matrix), rtol=1e-6, atol=1e-9)


def test_folding_is_the_share_of_voxels_that_are_turned_over():
    assert folding(torch.zeros(1, 2, 6, 6)) == 0
    assert folding(linear_field([[-2.0, 0], [0, 0]], (6, 6))) == 1  # mirrored along the first axis
    half = torch.cat([torch.zeros(1, 2, 6, 6), linear_field([[-2.0, 0], [0, 0]], (6, 6)).float()])
    assert folding(half) == 0.5


def test_the_mean_displacement_is_that_of_the_body():
    field = torch.zeros(2, 2, 4, 4)
    field[0, 0, :2], field[0, 1, :2] = 3.0, -1.0
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, :2] = 1
    torch.testing.assert_close(mean_displacement(field, mask), torch.tensor([[3.0, -1.0], [0.0, 0.0]]))
    torch.testing.assert_close(mean_displacement(field), torch.tensor([[1.5, -0.5], [0.0, 0.0]]))
