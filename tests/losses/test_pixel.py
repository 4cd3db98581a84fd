"""Pixel losses equal their formulas in NumPy, over the whole image, over the body, and weighted by intensity."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from medtrans import InputError
from medtrans.losses import L1, L2, Charbonnier, Observed
from medtrans.losses.pixel import IntensityWeights

PENALTIES = {
    L1: np.abs,
    L2: np.square,
    Charbonnier: lambda difference: np.sqrt(difference**2 + 1e-6),
}
SHAPES = [(2, 1, 9, 7), (2, 3, 5, 6), (1, 2, 4, 5, 6)]
CT = {"edges": [-200.0, 250.0], "weights": [0.5, 1.0, 3.0], "window": [-1024, 2000, "HU"]}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", PENALTIES)
def test_plain_mean(loss, shape, pair):
    candidate, target = pair(shape)
    expected = PENALTIES[loss](candidate.image.numpy() - target.image.numpy()).mean()
    assert loss()(candidate, target).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", PENALTIES)
def test_mean_over_each_body(loss, shape, pair):
    candidate, target = pair(shape)
    cost = PENALTIES[loss](candidate.image.numpy() - target.image.numpy())
    inside = np.broadcast_to(target.mask.numpy() > 0, cost.shape)
    expected = np.mean([c[i].mean() for c, i in zip(cost, inside, strict=True)])
    assert loss(masked=True)(candidate, target).item() == pytest.approx(expected, rel=1e-12)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    st.integers(0, 999),
)
def test_l2_is_torch_mse_for_any_shape(pair, shape, seed):
    candidate, target = pair(shape, seed=seed)
    torch.testing.assert_close(L2()(candidate, target), F.mse_loss(candidate.image, target.image))


def test_intensity_weights_in_hounsfield_units(pair):
    candidate, target = pair((2, 1, 30, 30))
    hounsfield = (target.image.numpy() + 1) / 2 * 3024 - 1024
    weight = np.select([hounsfield < -200, hounsfield < 250], [0.5, 1.0], 3.0)
    assert set(np.unique(weight)) == {0.5, 1.0, 3.0}
    difference = np.abs(candidate.image.numpy() - target.image.numpy())
    expected = np.mean([(w * d).sum() / w.sum() for w, d in zip(weight, difference, strict=True)])
    assert L1(intensity_weights=CT)(candidate, target).item() == pytest.approx(expected, rel=1e-12)
    weight = weight * target.mask.numpy()
    expected = np.mean([(w * d).sum() / w.sum() for w, d in zip(weight, difference, strict=True)])
    assert L1(masked=True, intensity_weights=CT)(candidate, target).item() == pytest.approx(expected, rel=1e-12)


def test_a_value_on_an_edge_belongs_to_the_range_above():
    weights = IntensityWeights([0.0], [1.0, 5.0], [-100, 100])
    assert weights(torch.tensor([-0.001, 0.0, 0.001])).tolist() == [1.0, 5.0, 5.0]


def test_weighting_bone_draws_the_gradient_to_bone():
    target = torch.tensor([[[[-1.0, 0.9]]]])
    gradients = []
    for weights in (None, CT):
        image = torch.zeros(1, 1, 1, 2, requires_grad=True)
        L1(intensity_weights=weights)(Observed(image), Observed(target)).backward()
        gradients.append(image.grad.abs().flatten())
    assert gradients[0].tolist() == pytest.approx([0.5, 0.5])
    assert (gradients[1][1] / gradients[1][0]).item() == pytest.approx(6.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"edges": [0.0], "weights": [1.0]},
        {"edges": [0.0], "weights": [1.0, -1.0]},
        {"edges": [0.0], "weights": [0.0, 0.0]},
        {"edges": [1.0, 0.0], "weights": [1.0, 1.0, 1.0]},
        {"edges": [0.0], "weights": [1.0, 2.0], "window": [5, 5]},
    ],
)
def test_intensity_weights_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match="intensity"):
        L1(intensity_weights=wrong)


@pytest.mark.parametrize("loss", PENALTIES)
def test_identical_images_cost_nothing_but_charbonnier_its_epsilon(loss, pair):
    _, target = pair()
    cost = loss()(Observed(target.image.clone()), target).item()
    assert cost == pytest.approx(1e-3 if loss is Charbonnier else 0.0, abs=1e-12)


def test_charbonnier_lies_between_l2_and_l1(pair):
    candidate, target = pair()
    assert Charbonnier(epsilon=1e-9)(candidate, target).item() == pytest.approx(L1()(candidate, target).item())
    wide = Charbonnier(epsilon=1e3)(candidate, target).item() - 1e3
    assert wide == pytest.approx(L2()(candidate, target).item() / 2e3, rel=1e-4)
    with pytest.raises(InputError, match="not positive"):
        Charbonnier(epsilon=0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", PENALTIES)
def test_gradients(loss, masked, pair, gradient_is_right):
    assert gradient_is_right(loss(masked=masked, intensity_weights=CT), *pair((2, 2, 4, 5)))


def test_an_image_without_body_counts_as_zero(pair):
    candidate, target = pair()
    target.mask = torch.zeros_like(target.mask)
    assert L1(masked=True)(candidate, target).item() == 0


def test_a_masked_loss_demands_a_mask(pair):
    candidate, target = pair()
    target.mask = None
    with pytest.raises(ValueError, match="masked L2 needs the body mask"):
        L2(masked=True)(candidate, target)
