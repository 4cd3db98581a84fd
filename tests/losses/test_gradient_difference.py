"""Gradient difference equals its formula, sees blur, and not a shift of intensity."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from medtrans import InputError
from medtrans.losses import L1, GradientDifference, Observed


def formula(found, wanted, power, mask=None):
    """The paper's double sum, written as loops over the axes; a mean takes the place of the sum over pixels."""
    total = 0.0
    for axis in range(2, found.ndim):
        later, earlier = (slice(1, None), slice(None, -1))
        at = [tuple([slice(None)] * axis + [part]) for part in (later, earlier)]
        cost = np.abs(np.abs(wanted[at[0]] - wanted[at[1]]) - np.abs(found[at[0]] - found[at[1]])) ** power
        if mask is None:
            total += cost.mean()
            continue
        inside = np.broadcast_to((mask[at[0]] > 0) & (mask[at[1]] > 0), cost.shape)
        total += np.mean([c[i].mean() for c, i in zip(cost, inside, strict=True)])
    return total


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (2, 3, 7, 5), (1, 2, 5, 6, 7)])
def test_formula(shape, power, masked, pair):
    candidate, target = pair(shape)
    mask = target.mask.numpy() if masked else None
    expected = formula(candidate.image.numpy(), target.image.numpy(), power, mask)
    found = GradientDifference(power=power, masked=masked)(candidate, target).item()
    assert found == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.integers(2, 7), min_size=2, max_size=3), st.floats(-0.5, 0.5))
def test_images_that_differ_by_a_constant_cost_nothing(pair, spatial, offset):
    _, target = pair((1, 2, *spatial))
    assert GradientDifference()(Observed(target.image + offset), target).item() == pytest.approx(0, abs=1e-12)


def test_of_two_images_with_equal_l1_the_blurred_one_costs_more():
    edge = torch.full((1, 1, 8, 32), -1.0)
    edge[..., 16:] = 1.0
    blurred = F.avg_pool1d(F.pad(edge[0], (4, 4), mode="replicate"), 9, 1)[None]
    offset = edge + (blurred - edge).abs().mean()
    costs = [
        [term(Observed(i), Observed(edge)).item() for i in (blurred, offset)] for term in (L1(), GradientDifference())
    ]
    assert costs[0][0] == pytest.approx(costs[0][1], rel=1e-5)
    assert costs[1][0] > 0.05 > costs[1][1]


@pytest.mark.parametrize("power", [1, 2])
def test_gradient(power, pair, gradient_is_right):
    assert gradient_is_right(GradientDifference(power=power, masked=True), *pair((2, 2, 4, 5)))


def test_another_power_is_refused():
    with pytest.raises(InputError, match="Use 1 or 2"):
        GradientDifference(power=3)
