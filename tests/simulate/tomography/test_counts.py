"""Counts against worked examples, chords in closed form, and the Poisson law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medtrans.simulate.tomography import ParallelBeam
from medtrans.simulate.tomography.counts import coincidences_per_content, expected_coincidences, thinned

SETTINGS = {
    "unit": "SUV",
    "dose_mbq": 210.0,
    "weight_kg": 70.0,
    "uptake_min": 109.77,
    "acquisition_s": 60.0,
    "half_life_min": 109.77,
    "sensitivity_cps_kbq": 10.0,
}
RADIUS, MU = 70.0, 0.096  # mm, 1/cm


def disc(size: int = 80, step: float = 2.0, fine: int = 8) -> torch.Tensor:
    at = (np.arange(size * fine) - (size * fine - 1) / 2) * step / fine
    inside = np.hypot(*np.meshgrid(at, at)) <= RADIUS
    return torch.from_numpy(inside.reshape(size, fine, size, fine).mean((1, 3), dtype=np.float32))[None, ..., None]


BEAM = ParallelBeam((80, 80), (2.0, 2.0), 24)


def test_dose_decay_sensitivity_and_time_multiply() -> None:
    """3 MBq/kg is 3 kBq/ml a SUV, half of it after one half-life; a slice of 4 mm; 10 cps/kBq for a minute."""
    per_content = coincidences_per_content(SETTINGS, 4.0)
    assert per_content == pytest.approx(1.5 * 4e-3 * 10 * 60, rel=0.004)  # 0.3 % decay in half a minute
    assert coincidences_per_content({**SETTINGS, "unit": "Bq/ml"}, 4.0) == pytest.approx(per_content / 1500)
    assert coincidences_per_content({**SETTINGS, "unit": "kBq/ml"}, 4.0) == pytest.approx(per_content / 1.5)


def test_over_an_endless_acquisition_all_nuclei_decay() -> None:
    forever = coincidences_per_content({**SETTINGS, "acquisition_s": 1e9, "unit": "kBq/ml"}, 1000.0)
    assert forever == pytest.approx(10 * 109.77 * 60 / math.log(2))  # activity / decay constant = nuclei


def test_a_disc_shows_its_chords_behind_their_own_attenuation() -> None:
    """Uniform activity and µ: each line holds L exp(-µ L) of the disc's chord L."""
    expected = expected_coincidences(BEAM, 3 * disc(), MU * disc(), 5.0, 0.0, 0.0)
    fine = ((np.arange(BEAM.bins * 20) + 0.5) / 20 - BEAM.bins / 2) * BEAM.bin_mm
    chord = 2 * np.sqrt(np.clip(RADIUS**2 - fine**2, 0, None)).reshape(-1, 20).mean(1)
    line = 5.0 * BEAM.bin_mm / 24 * 3 * chord * np.exp(-MU / 10 * chord)
    error = expected.trues[0, :, :, 0].numpy() - line
    assert np.sqrt((error**2).mean()) < 0.01 * line.max()
    assert np.abs(error.sum(1)).max() < 0.002 * line.sum()
    assert not expected.background.any()


def test_without_attenuation_a_slice_counts_its_content() -> None:
    activity = torch.rand(2, 80, 80, 3, generator=torch.Generator().manual_seed(0))
    expected = expected_coincidences(BEAM, activity, None, 0.25, 0.0, 0.0)
    torch.testing.assert_close(expected.trues.sum((1, 2)), 0.25 * 4 * activity.sum((1, 2)), rtol=1e-5, atol=0)


def test_scatter_and_randoms_have_their_shares_of_the_prompts() -> None:
    expected = expected_coincidences(BEAM, disc(), MU * disc(), 1.0, 0.4, 0.2)
    trues, prompts = float(expected.trues.sum()), float(expected.prompts.sum())
    assert trues == pytest.approx((1 - 0.4) * (1 - 0.2) * prompts, rel=1e-5)
    randoms = expected_coincidences(BEAM, disc(), MU * disc(), 1.0, 0.0, 0.2)
    everywhere = 0.2 * randoms.prompts.sum() / (24 * BEAM.bins)
    torch.testing.assert_close(randoms.background, everywhere.expand_as(randoms.background))


def test_what_thinning_keeps_and_drops_is_poisson_and_independent() -> None:
    mean, fraction, draws = torch.tensor([0.3, 4.0, 150.0]), 0.25, 200_000
    source = torch.Generator().manual_seed(5)
    counts = torch.poisson(mean.expand(draws, 3), generator=source)
    kept = thinned(counts, fraction, source)
    assert torch.equal(kept, kept.round())
    assert ((kept >= 0) & (kept <= counts)).all()
    torch.testing.assert_close(kept.mean(0), fraction * mean, rtol=0.02, atol=0)
    torch.testing.assert_close(kept.var(0), fraction * mean, rtol=0.02, atol=0)
    for column in range(3):
        together = torch.stack([kept[:, column], counts[:, column] - kept[:, column]])
        assert abs(float(torch.corrcoef(together)[0, 1])) < 0.01


def test_thinning_fixed_counts_is_binomial() -> None:
    kept = thinned(torch.full((200_000,), 40.0), 0.1, torch.Generator().manual_seed(6))
    assert float(kept.mean()) == pytest.approx(4.0, rel=0.01)
    assert float(kept.var()) == pytest.approx(40 * 0.1 * 0.9, rel=0.02)


def test_all_counts_are_all_counts() -> None:
    counts = torch.tensor([3.0, 0.0])
    assert torch.equal(thinned(counts, 1.0, torch.Generator()), counts)
