"""Noise of magnitude images against the closed forms of Rayleigh, Rice and the non-central chi distribution."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from scipy.stats import kstest, ncx2, norm, rice

from medtrans.simulate.mr.bias_field import BiasField
from medtrans.simulate.mr.gibbs_ringing import GibbsRinging
from medtrans.simulate.mr.rician_noise import RicianNoise, RicianNoised, g_factor_map
from medtrans.simulate.mr.signal_level import signal_level
from medtrans.simulate.mr.spikes import KSpaceSpikes
from medtrans.simulate.mr.undersampling import UndersampledMR


def half_and_half(signal: float = 100.0) -> torch.Tensor:
    """Air, and tissue of one signal."""
    image = torch.zeros(1, 160, 200)
    image[:, 80:] = signal
    return image


def test_air_has_the_mean_and_variance_of_rayleigh() -> None:
    """σ√(π/2) and (2 - π/2)σ², with σ 4 % of the tissue's 100."""
    air = RicianNoise(4.0).set_random_state(0)(half_and_half(), (1, 1)).as_tensor()[:, :80].numpy()
    assert air.mean() == pytest.approx(4 * math.sqrt(math.pi / 2), rel=0.01)
    assert air.var() == pytest.approx((2 - math.pi / 2) * 16, rel=0.03)


def test_high_signal_is_gaussian() -> None:
    tissue = RicianNoise(2.0).set_random_state(0)(half_and_half(), (1, 1)).as_tensor()[:, 80:].numpy().ravel()
    assert tissue.mean() == pytest.approx(math.sqrt(100**2 + 2**2), abs=0.05)
    assert tissue.std() == pytest.approx(2, rel=0.02)
    assert kstest(tissue, norm(tissue.mean(), 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("snr", [0.5, 1, 2, 5])
def test_every_signal_to_noise_ratio_is_rices(snr) -> None:
    tissue = RicianNoise(snr=snr).set_random_state(1)(half_and_half(), (1, 1)).as_tensor()[:, 80:].numpy().ravel()
    law = rice(snr, scale=100 / snr)
    assert tissue.mean() == pytest.approx(law.mean(), rel=0.02)
    assert kstest(tissue, law.cdf).pvalue > 0.01


@pytest.mark.parametrize("coils", [2, 4])
def test_several_coils_are_non_central_chi(coils) -> None:
    """Squares are σ² times a non-central χ² of two degrees of freedom a coil."""
    noisy = RicianNoise(50.0, coils=coils).set_random_state(2)(half_and_half(), (1, 1)).as_tensor().numpy()
    assert kstest((noisy[:, 80:].ravel() / 50) ** 2, ncx2(2 * coils, 4).cdf).pvalue > 0.01
    assert (noisy[:, :80] ** 2).mean() == pytest.approx(2 * coils * 50**2, rel=0.02)


def test_the_signal_is_that_of_the_foreground_or_the_one_given() -> None:
    assert signal_level(torch.full((2, 5, 5), 3.0)).flatten().tolist() == pytest.approx([3, 3])
    assert signal_level(half_and_half(80)).item() == pytest.approx(80)
    assert signal_level(torch.zeros(1, 4, 4)).item() == 0
    told = RicianNoise(5.0, signal=1000).set_random_state(0)(half_and_half(), (1, 1)).as_tensor()
    assert told[:, :80].mean() == pytest.approx(50 * math.sqrt(math.pi / 2), rel=0.02)


def test_the_g_factor_amplifies_noise_where_it_says() -> None:
    image = torch.full((1, 128, 128), 100.0)
    degrade = RicianNoise(1.0, g_factor=4.0, g_length=30).set_random_state(5)
    noise = degrade(image, (1, 1)).as_tensor() - 100
    gain = g_factor_map(image.shape, degrade.parameters, (1, 1), torch.device("cpu"))
    assert (float(gain.min()), float(gain.max())) == pytest.approx((1, 4), abs=1e-4)
    for low, high in ((1, 2), (2, 3), (3, 4)):
        within = (gain >= low) & (gain <= high)
        assert noise[0][within].std() == pytest.approx(float(gain[within].square().mean().sqrt()), rel=0.1)


def test_the_seed_and_the_record_make_the_same_noise_again() -> None:
    image = half_and_half()
    first, again, other = (RicianNoise().set_random_state(seed)(image, (1, 1)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    record = json.loads(json.dumps(first.meta["degradations"][0]))["parameters"]
    assert 2 <= record["percent"] <= 10
    assert torch.equal(first, RicianNoise(1.0).reapply(image, record, (1, 1)))


def test_no_noise_is_the_image() -> None:
    volume = torch.rand(2, 5, 6, 7)
    assert torch.equal(RicianNoise(0)(volume, (1, 1, 1)).as_tensor(), volume)


def test_a_dictionary_adds_it_in_scanner_units() -> None:
    out = RicianNoised("source", percent=5)({"source": half_and_half(2000), "spacing": [1, 1]})["source"]
    assert out[:, :80].mean() == pytest.approx(100 * math.sqrt(math.pi / 2), rel=0.02)


@pytest.mark.parametrize("shape", [(30, 25), (18, 17, 12)])
def test_degradations_follow_one_another_and_are_recorded_in_their_order(shape) -> None:
    steps = [BiasField(), UndersampledMR(coils=2), GibbsRinging(), KSpaceSpikes(), RicianNoise()]
    image = 100 + torch.rand(1, *shape)
    chain = Compose([lambda img: steps[0](img, [1.5] * len(shape)), *steps[1:]])
    chain.set_random_state(0)
    out = chain(image)
    assert [record["degradation"] for record in out.meta["degradations"]] == [type(step).__name__ for step in steps]
    again = image
    for step, record in zip(steps, out.meta["degradations"], strict=True):
        again = type(step)().reapply(again, record["parameters"], [1.5] * len(shape))
    assert torch.equal(again.as_tensor(), out.as_tensor())
    assert np.isfinite(out.numpy()).all()
    assert out.dtype == torch.float32


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong, words in (
        ({"percent": 3, "snr": 3}, "not as both"),
        ({"percent": -1}, "percent"),
        ({"snr": 0}, "snr"),
        ({"signal": 0}, "signal"),
        ({"coils": 0}, "coils"),
        ({"g_factor": 0.5}, "g_factor"),
    ):
        with pytest.raises(ValueError, match=words):
            RicianNoise(**wrong)
