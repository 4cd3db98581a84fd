"""Fidelity in k-space equals its formula in NumPy, Parseval's theorem, and MONAI's spectral loss."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import JukeboxLoss

from medtrans import InputError
from medtrans.losses import L2, Frequency, Observed


def formula(found, wanted, power=1, focal=0.0, phase=True):
    axes = tuple(range(2, found.ndim))
    a, b = (np.fft.fftn(image + 1, axes=axes) / np.sqrt(np.prod(image.shape[2:])) for image in (found, wanted))
    distance = np.abs(a - b) if phase else np.abs(np.abs(a) - np.abs(b))
    return ((distance / distance.max(axis=axes, keepdims=True)) ** focal * distance**power).mean()


@pytest.mark.parametrize("options", [{}, {"power": 2, "focal": 1.0}, {"focal": 0.5}, {"phase": False}])
@pytest.mark.parametrize("shape", [(2, 1, 12, 15), (2, 3, 9, 8), (1, 2, 6, 7, 8)])
def test_formula(shape, options, pair):
    candidate, target = pair(shape)
    expected = formula(candidate.image.numpy(), target.image.numpy(), **options)
    assert Frequency(**options)(candidate, target).item() == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_squared_over_all_of_k_space_it_is_l2(pair, channels, height, width, seed):
    candidate, target = pair((2, channels, height, width), seed=seed)
    torch.testing.assert_close(Frequency(power=2)(candidate, target), L2()(candidate, target))


def test_magnitudes_alone_are_monais_spectral_loss(pair):
    candidate, target = pair((2, 1, 12, 10))
    expected = JukeboxLoss(2)(candidate.image + 1, target.image + 1)
    torch.testing.assert_close(Frequency(power=2, phase=False)(candidate, target), expected)
    shifted = Observed(target.image.roll((2, 3), (2, 3)))
    assert Frequency(phase=False)(shifted, target).item() == pytest.approx(0, abs=1e-9)
    assert Frequency()(shifted, target).item() > 0.1


def test_the_parts_of_a_spectrum_sum_to_the_whole(pair):
    candidate, target = pair((2, 1, 16, 12))
    counts, total = 0, 0.0
    for band in ((0.0, 0.4), (0.4000001, 0.9), (0.9000001, 1.5)):
        term = Frequency(band=band)
        count = int(term._in_band(target.image).sum())
        counts, total = counts + count, total + count * term(candidate, target).item()
    assert counts == 16 * 12
    assert total / counts == pytest.approx(Frequency()(candidate, target).item(), rel=1e-9)


@pytest.mark.parametrize(("frequency", "low"), [(1, True), (7, False)])
def test_a_band_sees_its_own_waves_only(frequency, low):
    wave = torch.cos(2 * torch.pi * frequency * torch.arange(16) / 16).expand(1, 1, 16, 16)
    costs = [Frequency(band=band)(Observed(wave), Observed(0 * wave)).item() for band in ((0, 0.5), (0.5001, 1.5))]
    assert (costs[0] > 0.01, costs[1] > 0.01) == (low, not low)


def test_outside_the_body_nothing_counts(pair):
    candidate, target = pair()
    plain = Frequency(masked=True)(candidate, target).item()
    other = torch.where(target.mask > 0, candidate.image, 0.5)
    assert Frequency(masked=True)(Observed(other), target).item() == pytest.approx(plain, rel=1e-12)
    expected = formula(*(((image.image + 1) * target.mask - 1).numpy() for image in (candidate, target)))
    assert plain == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "options", [{}, {"power": 2, "band": (0.3, 1.5)}, {"phase": False, "power": 2}, {"masked": True}]
)
def test_gradient(options, pair, gradient_is_right):
    assert gradient_is_right(Frequency(**options), *pair((2, 2, 6, 5)))


def test_the_focal_weight_is_constant_for_the_gradient(pair):
    candidate, target = pair((1, 1, 6, 5))
    image = candidate.image.clone().requires_grad_()
    Frequency(power=2, focal=1.0)(Observed(image), target).backward()
    difference = torch.fft.fftn(image.detach() - target.image, dim=(2, 3), norm="ortho")
    weight = difference.abs() / difference.abs().amax()
    expected = torch.fft.ifftn(weight * difference, dim=(2, 3), norm="ortho").real * 2 / 30
    torch.testing.assert_close(image.grad, expected)


def test_identical_images_cost_nothing_and_have_a_finite_gradient(pair):
    _, target = pair()
    for options in ({}, {"focal": 1.0}, {"phase": False}):
        image = target.image.clone().requires_grad_()
        loss = Frequency(**options)(Observed(image), target)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("wrong", [{"power": 3}, {"focal": -1}, {"band": (0.5, 0.2)}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(InputError, match="frequency"):
        Frequency(**wrong)


def test_an_empty_band_is_refused(pair):
    with pytest.raises(ValueError, match="no frequency of a"):
        Frequency(band=(1.6, 1.7))(*pair())
