from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from medtrans import metrics


def transcribed_uqi(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Equation 1 of the paper in every block, from the blocks' own voxels; as in the authors' code where it is 0/0."""
    axes = tuple(range(x.ndim, 2 * x.ndim))
    blocks = [sliding_window_view(image, (8,) * x.ndim) for image in (x, y)]
    mean_x, mean_y = (block.mean(axes) for block in blocks)
    count = 8**x.ndim
    var_x, var_y = (block.var(axes) * count / (count - 1) for block in blocks)
    cov = (blocks[0] * blocks[1]).mean(axes) - mean_x * mean_y
    cov *= count / (count - 1)
    quality = np.ones_like(mean_x)
    flat = var_x + var_y < 1e-8
    squares = mean_x**2 + mean_y**2
    lit = flat & (squares > 1e-8)
    quality[lit] = (2 * mean_x * mean_y)[lit] / squares[lit]
    quality[~flat] = (4 * cov * mean_x * mean_y)[~flat] / ((var_x + var_y) * squares)[~flat]
    return quality


def test_it_agrees_with_the_definition_block_by_block(pair):
    x, y = (array[tuple(slice(0, 24) for _ in array.shape)] for array in (pair.prediction, pair.reference))
    tensors = [torch.tensor(array)[None, None] for array in (x, y)]
    expected = transcribed_uqi(x, y)
    assert metrics.UQI()(*tensors, data_range=1.0).item() == pytest.approx(expected.mean(), abs=1e-7)
    mask = np.zeros_like(x)
    mask[tuple(slice(7, 15) for _ in x.shape)] = 1
    centres = mask[tuple(slice(4, 4 + 17) for _ in x.shape)] > 0
    value = metrics.UQI()(*tensors, data_range=1.0, mask=torch.tensor(mask)[None, None])
    assert value.item() == pytest.approx(expected[centres].mean(), abs=1e-7)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [(0.0, 0.0, 1.0), (0.5, 0.5, 1.0), (0.0, 0.5, 0.0), (0.25, 0.5, 2 * 0.125 / (0.0625 + 0.25))],
)
def test_flat_windows_count_with_their_luminance(prediction, reference, expected):
    flat = [torch.full((1, 1, 9, 9), value) for value in (prediction, reference)]
    assert metrics.UQI()(*flat, data_range=1.0).item() == pytest.approx(expected, abs=1e-6)


def test_background_with_rounding_noise_counts_as_flat():
    generator = torch.Generator().manual_seed(0)
    image = [1e-7 * torch.rand(1, 1, 16, 16, generator=generator) for _ in range(2)]
    assert metrics.UQI()(*image, data_range=1.0).item() == pytest.approx(1)


def test_opposite_contrast_is_negative():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert metrics.UQI()(1 - image, image, data_range=1.0) < -0.5
