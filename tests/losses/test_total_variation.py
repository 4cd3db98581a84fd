"""Total variation equals its formula, torchmetrics where that has it, and punishes noise rather than edges."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.image import total_variation

from medtrans import InputError
from medtrans.losses import Observed, TotalVariation


def formula(image, power, factors, mask=None):
    total = 0.0
    for axis, factor in enumerate(factors, start=2):
        variation = np.abs(np.diff(image, axis=axis)) ** power
        if mask is None:
            total += factor * variation.mean()
            continue
        first, second = (np.take(mask, range(i, mask.shape[axis] - 1 + i), axis) for i in (0, 1))
        inside = np.broadcast_to((first > 0) & (second > 0), variation.shape)
        total += factor * np.mean([v[i].mean() for v, i in zip(variation, inside, strict=True)])
    return total


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (2, 3, 7, 5), (1, 2, 5, 6, 7)])
def test_formula(shape, power, masked, pair):
    candidate, target = pair(shape)
    factors = (1.0, 0.5, 2.0)[: len(shape) - 2]
    expected = formula(candidate.image.numpy(), power, factors, target.mask.numpy() if masked else None)
    found = TotalVariation(power=power, axes=factors, masked=masked)(candidate, target).item()
    assert found == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 3), st.integers(2, 9), st.integers(0, 99))
def test_on_square_images_it_is_torchmetrics_over_the_number_of_pairs(pair, channels, size, seed):
    candidate, target = pair((2, channels, size, size), seed=seed)
    expected = total_variation(candidate.image, reduction="mean") / (channels * size * (size - 1))
    torch.testing.assert_close(TotalVariation()(candidate, target), expected)


def test_a_constant_image_costs_nothing_and_the_target_does_not_matter(pair):
    _, target = pair()
    assert TotalVariation()(Observed(torch.full_like(target.image, 0.3)), target).item() == 0


def test_noise_costs_more_than_an_edge_of_the_same_contrast():
    edge = torch.zeros(1, 1, 16, 16)
    edge[..., 8:] = 1
    scattered = edge.flatten()[torch.randperm(256, generator=torch.Generator().manual_seed(0))].view_as(edge)
    costs = [TotalVariation()(Observed(image), Observed(edge)).item() for image in (edge, scattered)]
    assert costs[1] > 4 * costs[0]


@pytest.mark.parametrize("power", [1, 2])
def test_gradient(power, pair, gradient_is_right):
    assert gradient_is_right(TotalVariation(power=power, masked=True), *pair((2, 2, 4, 5)))


def test_wrong_settings_are_refused(pair):
    with pytest.raises(InputError, match="Use 1 or 2"):
        TotalVariation(power=3)
    with pytest.raises(ValueError, match="3 factors for 2 spatial axes"):
        TotalVariation(axes=(1, 1, 1))(*pair())
