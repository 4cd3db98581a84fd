"""Sharpness: its map equals scikit-image's filters', blur costs in the right place, a trained detector can be given."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional as F

from medtrans.losses import L1, Observed, Sharpness
from medtrans.losses.sharpness import LocalSharpness
from medtrans.networks import FrozenNetwork


def reference(image):
    """√(Gaussian mean of the squared central differences + ε²) with SciPy, borders cut."""
    energy = sum(np.gradient(image, axis=axis) ** 2 for axis in range(image.ndim))
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in range(image.ndim):
        energy = ndimage.correlate1d(energy, window, axis)
    return np.sqrt(energy + 1e-6)[tuple([slice(4, -4)] * image.ndim)]


@pytest.mark.parametrize("shape", [(1, 1, 14, 17), (2, 2, 12, 13), (1, 2, 10, 11, 12)])
def test_formula(shape, pair):
    candidate, target = pair(shape)
    maps = [
        np.stack([[reference(channel) for channel in image] for image in observed.image.numpy()])
        for observed in (candidate, target)
    ]
    np.testing.assert_allclose(LocalSharpness()(candidate.image)[0].numpy(), maps[0], rtol=1e-10)
    expected = ((maps[0] - maps[1]) ** 2).mean()
    assert Sharpness()(candidate, target).item() == pytest.approx(expected, rel=1e-9)
    inside = target.mask.numpy()[(..., *[slice(4, -4)] * (len(shape) - 2))] > 0
    squares = (maps[0] - maps[1]) ** 2
    means = [s[np.broadcast_to(i, s.shape)].mean() for s, i in zip(squares, inside, strict=True)]
    assert Sharpness(masked=True)(candidate, target).item() == pytest.approx(np.mean(means), rel=1e-9)


@settings(max_examples=20)
@given(st.lists(st.integers(9, 14), min_size=2, max_size=3), st.floats(-0.5, 0.5))
def test_images_that_differ_by_a_constant_cost_nothing(pair, spatial, offset):
    _, target = pair((1, 1, *spatial))
    assert Sharpness()(Observed(target.image + offset), target).item() == pytest.approx(0, abs=1e-12)


def test_of_two_images_with_equal_l1_the_blurred_one_costs_more(pair):
    _, target = pair((1, 1, 32, 32))
    blurred = F.avg_pool2d(target.image, 3, 1, 1)
    offset = target.image + L1()(Observed(blurred), target)
    assert Sharpness()(Observed(blurred), target) > 100 * Sharpness()(Observed(offset), target) + 1e-3


def test_flat_images_have_a_finite_gradient():
    image = torch.zeros(1, 1, 12, 12, requires_grad=True)
    Sharpness()(Observed(image), Observed(torch.rand(1, 1, 12, 12))).backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("masked", [False, True])
def test_gradient(masked, pair, gradient_is_right):
    assert gradient_is_right(Sharpness(masked=masked), *pair((2, 2, 11, 10)), fast=True)


def test_a_trained_detector(tmp_path, pair):
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 2, 3, padding=1).double()
    torch.jit.script(network).save(str(tmp_path / "detector.ts"))
    candidate, target = pair()
    with torch.no_grad():
        squares = (network(candidate.image) - network(target.image)).square()
    term = Sharpness(detector=FrozenNetwork(tmp_path / "detector.ts")).double()
    term.prepare()
    assert term(candidate, target).item() == pytest.approx(squares.mean().item(), rel=1e-9)


def test_too_small_images_are_refused(pair):
    with pytest.raises(ValueError, match="at least 9 voxels"):
        Sharpness()(*pair((1, 1, 8, 20)))
