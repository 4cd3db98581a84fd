"""Grids are centred, in RAS order, and oversampled where voxels are large."""

import numpy as np
import pytest
import torch

from medtrans.simulate.phantom.grid import Grid, block_means, block_modes


@pytest.mark.parametrize("spacing", [1.0, 3.5, 2.2, (1.0, 2.0, 4.0)])
def test_field_of_view_is_centred_on_the_origin(spacing):
    grid = Grid.covering(spacing)
    first, last = grid.affine @ [0, 0, 0, 1], grid.affine @ [*(n - 1 for n in grid.shape), 1]
    np.testing.assert_allclose(first[:3], -last[:3])
    extent = np.array(grid.shape) * grid.spacing
    np.testing.assert_allclose(extent, (192, 224, 192), atol=max(grid.spacing) / 2 + 1e-9)
    for axis in range(3):
        expected = first[axis] + np.arange(grid.shape[axis]) * grid.spacing[axis]
        np.testing.assert_allclose(grid.coordinates(axis).numpy(), expected, atol=1e-4)


def test_default_shapes():
    assert Grid.covering(1.0).shape == (192, 224, 192)
    assert Grid.covering(3.5).shape == (55, 64, 55)
    assert Grid.covering(3.0, (64, 64, 32)).shape == (64, 64, 32)


@pytest.mark.parametrize(
    ("spacing", "factors"), [(1.0, (1, 1, 1)), (2.0, (1, 1, 1)), (3.5, (2, 2, 2)), ((1, 3, 5), (1, 2, 3))]
)
def test_finer_grid_cuts_voxels_larger_than_two_millimetres(spacing, factors):
    grid = Grid.covering(spacing, (4, 6, 8))
    assert grid.oversampling == factors
    finer = grid.finer()
    assert max(finer.spacing) <= 2.0
    for axis, factor in enumerate(factors):
        means = finer.coordinates(axis).reshape(-1, factor).mean(1)
        torch.testing.assert_close(means, grid.coordinates(axis), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("spacing", "shape"), [(0.0, None), (-1.0, None), (float("nan"), None), (1.0, (3, 4)), (1.0, (0, 4, 4))]
)
def test_impossible_grids_are_refused(spacing, shape):
    with pytest.raises(ValueError, match=r"spacing|shape"):
        Grid.covering(spacing, shape)


def test_blocks_are_averaged_and_counted():
    rng = np.random.default_rng(0)
    values, labels = rng.random((4, 6, 3)).astype(np.float32), rng.integers(0, 4, (4, 6, 3)).astype(np.uint8)
    means, modes = block_means(torch.from_numpy(values), (2, 3, 1)), block_modes(torch.from_numpy(labels), (2, 3, 1))
    for index in np.ndindex(2, 2, 3):
        block = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, (2, 3, 1), strict=True))
        assert float(means[index]) == pytest.approx(values[block].mean(), rel=1e-5)
        counts = np.bincount(labels[block].ravel(), minlength=4)
        assert int(modes[index]) == counts.argmax()
