"""Noise of low-dose CT against the theory of filtered backprojection (Kak and Slaney, ch. 5.2) and of counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from medtrans.simulate import LowDoseCT
from medtrans.simulate.tomography import WINDOWS, ParallelBeam
from medtrans.simulate.tomography.ct import WATER
from medtrans.simulate.tomography.low_dose_ct import bowtie_filter, low_counts

REAL = Path(__file__).parents[4] / "shared" / "data" / "dicom_dev" / "02_ct_philips_head_5mm"
SIZE, STEP, VIEWS, I0 = 75, 2.0, 90, 2e5
AXIS = (np.arange(SIZE) - SIZE // 2) * STEP
RADII = np.hypot(AXIS[:, None], AXIS[None])


def cylinder(diameter: float, slices: int = 48) -> np.ndarray:
    """Water in air, ``(1, X, Y, slices)``; the edge is as fine as 10 x 10 parts of a pixel."""
    fine = (np.arange(SIZE * 10) - (SIZE * 10 - 1) / 2) * STEP / 10
    inside = np.hypot(fine[:, None], fine[None]) < diameter / 2
    share = inside.reshape(SIZE, 10, SIZE, 10).mean((1, 3))
    return np.repeat((1000 * share - 1000)[None, ..., None], slices, axis=-1).astype(np.float32)


def noise(scan: np.ndarray, **settings: object) -> np.ndarray:
    """What a low dose adds, ``(X, Y, slices)`` in HU."""
    chosen = {"photons_per_ray": I0, "electronic": 0.0, "views": VIEWS} | settings
    low = LowDoseCT(**chosen).set_random_state(0)  # type: ignore[arg-type]
    return low(scan, (STEP, STEP, 1.0)).numpy()[0] - scan[0]


def theory(variance: float, window: str) -> float:
    """Variance in HU² at the centre, where all rays have line integrals of ``variance``.

    π/V of each view's filtered noise, whose spectrum a·f²·W²(f) is repeated by sampling and seen through the bins'
    and the pixel's width.
    """
    f = np.linspace(-6 / STEP, 6 / STEP, 12001)
    wrapped = np.abs((f + 0.5 / STEP) % (1 / STEP) - 0.5 / STEP)
    ramp = wrapped * WINDOWS[window](torch.from_numpy(2 * STEP * wrapped)).numpy()
    angles = np.arange(VIEWS) * np.pi / VIEWS
    pixel = np.sinc(f * STEP * np.cos(angles)[:, None]) * np.sinc(f * STEP * np.sin(angles)[:, None])
    spectrum = ramp**2 * (np.sinc(f * STEP) * pixel) ** 2
    per_view = variance * STEP * spectrum.sum(1) * (f[1] - f[0])
    return (np.pi / VIEWS) ** 2 * per_view.sum() * (1000 / WATER) ** 2


@pytest.mark.parametrize("window", ["ramp", "hann"])
def test_the_variance_in_the_middle_of_a_water_cylinder_is_that_of_theory(window: str) -> None:
    found = noise(cylinder(120), mas=60, window=window)[RADII < 14].var()
    added = (300 / 60 - 1) * np.exp(WATER * 120) / I0  # (1/f - 1) / N
    assert found == pytest.approx(theory(added, window), rel=0.08)


def test_theory_without_the_width_of_bins_and_pixels_is_the_textbooks_and_an_upper_bound() -> None:
    textbook = np.pi**2 / (12 * STEP**2 * VIEWS) * (1000 / WATER) ** 2  # ideal interpolation, ramp, variance 1
    f = np.linspace(-0.5 / STEP, 0.5 / STEP, 20001)
    integral = (np.pi / VIEWS) ** 2 * VIEWS * STEP * (f**2).mean() / STEP * (1000 / WATER) ** 2
    assert integral == pytest.approx(textbook, rel=1e-3)
    assert 0.2 * textbook < theory(1.0, "ramp") < textbook


def test_variance_falls_with_the_dose_and_grows_with_the_width_of_the_patient() -> None:
    middle = RADII < 14
    at_75, at_15 = (noise(cylinder(100), mas=mas)[middle].var() for mas in (75, 15))
    assert at_15 / at_75 == pytest.approx((300 / 15 - 1) / (300 / 75 - 1), rel=0.08)
    wider = noise(cylinder(140), mas=75)[middle].var()
    assert wider / at_75 == pytest.approx(np.exp(WATER * 40), rel=0.1)


def test_the_noise_of_a_scan_and_what_is_added_make_the_noise_of_the_low_dose() -> None:
    clean, middle = cylinder(120), RADII < 30
    whole = noise(clean, mas=30, noise_free=True, electronic=20.0)[middle].var()
    reference = clean + noise(clean, mas=300, noise_free=True, electronic=20.0)[None]
    low = LowDoseCT(mas=30, photons_per_ray=I0, views=VIEWS, electronic=20.0).set_random_state(9)
    both = (low(reference, (STEP, STEP, 1.0)).numpy() - clean)[0][middle].var()
    assert both == pytest.approx(whole, rel=0.08)
    assert reference[0][middle].var() < 0.15 * whole


def test_mean_hu_are_preserved_at_a_moderate_dose() -> None:
    change = noise(cylinder(120), mas=60, electronic=10.0)
    spread = change[RADII < 40].std()
    assert spread > 5
    for ring in (RADII < 20, (RADII > 20) & (RADII < 50), RADII > 64):
        assert abs(change[ring].mean()) < 1


def test_noise_has_the_texture_of_the_ramp() -> None:
    half = 16  # pixels about the centre, far within the water
    middle = slice(SIZE // 2 - half, SIZE // 2 + half)
    patch = noise(cylinder(140), mas=30, window="ramp")[middle, middle]
    power = np.abs(np.fft.fft2(patch, axes=(0, 1))) ** 2
    f = np.fft.fftfreq(2 * half, STEP)
    radial = np.hypot(f[:, None], f[None])
    axis_bins = np.sinc(radial * STEP) ** 2 * (np.sinc(f[:, None] * STEP) * np.sinc(f[None] * STEP)) ** 2
    rings = [(radial > low) & (radial <= low + 0.03) for low in np.arange(0.015, 0.2, 0.03)]
    measured = np.array([power.mean(-1)[ring].mean() for ring in rings])
    expected = np.array([(radial * axis_bins)[ring].mean() for ring in rings])  # one |f| of two: polar sampling
    np.testing.assert_allclose(measured / measured.sum(), expected / expected.sum(), atol=0.02)
    assert measured[0] < 0.5 * measured.max()  # low frequencies are missing
    lags = [np.mean(patch[lag:] * patch[:-lag]) / patch.var() for lag in (1, 2, 3)]
    assert min(lags) < -0.02  # white noise has 0, a blur of it is above
    blurred = noise(cylinder(140), mas=30, window="hann")[middle, middle]
    assert blurred.std() < 0.6 * patch.std()


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_readings_have_the_mean_and_variance_of_counting(share: float) -> None:
    counts, source = torch.full((400_000,), 60.3), torch.Generator().manual_seed(0)
    added = low_counts(counts, share, 4.0, noise_free=False, source=source)
    whole = low_counts(counts, share, 4.0, noise_free=True, source=source)
    assert added.mean().item() == pytest.approx(share * 60.3, abs=0.05)
    assert whole.mean().item() == pytest.approx(share * 60.3, abs=0.05)
    assert added.var().item() == pytest.approx(share * (1 - share) * 60.3 + 16 * (1 - share**2), rel=0.01)
    assert whole.var().item() == pytest.approx(share * 60.3 + 16, rel=0.01)


def test_behind_dense_objects_few_photons_make_streaks_and_no_holes() -> None:
    scan = cylinder(140, slices=1)
    for x in (22, 52):
        scan[:, x - 6 : x + 7, 33:42] = 3000  # two petrous bones
    change = noise(scan, mas=30, photons_per_ray=3e4, electronic=10.0)[..., 0]
    assert np.isfinite(change).all()
    between, aside = change[30:45, 34:41], change[30:45, 12:22]
    assert between.std() > 2 * aside.std()
    along, across = np.diff(between, axis=0).std(), np.diff(between, axis=1).std()
    assert across > 1.5 * along  # streaks run from bone to bone


def test_noise_does_not_depend_on_how_finely_the_scan_is_projected() -> None:
    scan, middle = cylinder(120), RADII < 20
    spreads = []
    for views in (60, 120):
        low = LowDoseCT(mas=0.5, views=views, electronic=0).set_random_state(1)
        spreads.append(low(scan, (STEP, STEP, 1)).numpy()[0][middle].std())
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)


def test_a_bowtie_makes_all_rays_through_its_water_alike() -> None:
    beam = ParallelBeam((SIZE, SIZE), (STEP, STEP), 4)
    filtered = bowtie_filter(beam, 120.0)
    through = torch.exp(-beam.project(torch.from_numpy(cylinder(120, 1)) / 1000 * WATER + WATER)[0, 0, :, 0])
    inside = beam.distances().abs() < 56
    np.testing.assert_allclose((filtered * through)[inside], np.exp(-WATER * 120), rtol=0.02)
    assert torch.equal(bowtie_filter(beam, 0.0), torch.ones(beam.bins))
    flat, shaped = (noise(cylinder(120), mas=60, bowtie=bowtie) for bowtie in (0.0, 120.0))
    rim = (RADII > 45) & (RADII < 55)
    assert shaped[RADII < 14].std() == pytest.approx(flat[RADII < 14].std(), rel=0.15)
    assert shaped[rim].std() > 1.2 * flat[rim].std()


@pytest.mark.skipif(not REAL.is_dir(), reason="no real images here")
def test_a_real_head_gets_noisier_and_keeps_its_mean() -> None:
    header = pydicom.dcmread(sorted(path for path in REAL.iterdir() if path.is_file())[2])
    scan = header.pixel_array.T[None].astype(np.float32) * header.RescaleSlope + header.RescaleIntercept
    blocks = scan[:, : scan.shape[1] // 4 * 4, : scan.shape[2] // 4 * 4]
    coarse = blocks.reshape(1, scan.shape[1] // 4, 4, scan.shape[2] // 4, 4).mean((2, 4))
    spacing = [4 * float(step) for step in header.PixelSpacing][::-1]
    few, fewer = (LowDoseCT(mas=mas, slice_mm=5).set_random_state(2)(coarse, spacing).numpy() for mas in (30, 3))
    inside = coarse > -200
    assert 0.1 < (few - coarse)[inside].std() < (fewer - coarse)[inside].std()
    assert abs((few - coarse)[inside].mean()) < 1
