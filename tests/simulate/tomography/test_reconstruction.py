"""Reconstructions give back what was projected; likelihood rises; counts stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import iradon

from medtrans.simulate.tomography import WINDOWS, ParallelBeam, filtered_backprojection, osem

SHAPE, SPACING = (60, 72), (2.5, 2.0)
BEAM = ParallelBeam(SHAPE, SPACING, 96, subsets=8)


def radii() -> np.ndarray:
    x, y = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(SHAPE, SPACING, strict=True))
    return np.hypot(*np.meshgrid(x, y, indexing="ij"))


def disc_chords(radius: float) -> torch.Tensor:
    """Line integrals of a disc of value 1: known without a projector."""
    fine = ((np.arange(BEAM.bins * 20) + 0.5) / 20 - BEAM.bins / 2) * BEAM.bin_mm
    chord = 2 * np.sqrt(np.clip(radius**2 - fine**2, 0, None)).reshape(-1, 20).mean(1)
    return torch.from_numpy(chord).float().expand(1, 96, -1)


@pytest.mark.parametrize("window", WINDOWS)
def test_filtered_backprojection_gives_a_disc_its_value_and_nothing_around_it(window) -> None:
    image = filtered_backprojection(BEAM, disc_chords(50), window)[0].numpy()
    assert image[radii() < 40].mean() == pytest.approx(1, abs=0.002)
    assert np.abs(image[radii() < 40] - 1).max() < 0.03
    assert np.abs(image[(radii() > 62) & (radii() < 72)]).max() < 0.03


def test_filtered_backprojection_of_a_smooth_image_is_that_image_as_scikit_image_finds_too() -> None:
    beam = ParallelBeam((61, 61), (1, 1), 120, bins=61)
    x = np.arange(61) - 30.0
    image = np.exp(-np.add.outer((x - 5) ** 2, (x + 8) ** 2) / 50)
    sinogram = beam.project(torch.from_numpy(image)[None])
    ours = filtered_backprojection(beam, sinogram, "hann")[0].numpy()
    theirs = iradon(sinogram[0].numpy().T, theta=np.degrees(beam.angles), filter_name="hann")[::-1].T
    assert np.abs(ours - image).max() < 0.06
    inside = np.add.outer(x**2, x**2) < 25**2
    assert np.abs(ours - theirs)[inside].max() < 0.02


def test_views_in_uneven_steps_are_weighted_by_what_they_stand_for() -> None:
    angles = np.concatenate([np.linspace(0, 1, 80, endpoint=False), np.linspace(1, np.pi, 60, endpoint=False)])
    beam = ParallelBeam(SHAPE, SPACING, angles[np.random.default_rng(0).permutation(140)])
    chords = disc_chords(50)[:, :1].expand(1, 140, -1)
    image = filtered_backprojection(beam, chords)[0].numpy()
    assert image[radii() < 40].mean() == pytest.approx(1, abs=0.005)


def test_osem_finds_activity_behind_attenuation_and_background() -> None:
    factor, background = 3 * torch.exp(-0.0096 * disc_chords(60)), 20.0
    counts = factor * disc_chords(50) + background
    image = osem(BEAM, counts, factor, background, iterations=6)[0].numpy()
    assert image[radii() < 40].mean() == pytest.approx(1, abs=0.005)
    assert image[(radii() > 60) & (radii() < 72)].mean() < 0.01
    uncorrected = osem(BEAM, counts, 3.0, background, iterations=6)[0].numpy()
    assert uncorrected[radii() < 10].mean() < 0.5


def counted(seed: int = 0) -> tuple[ParallelBeam, torch.Tensor, torch.Tensor]:
    beam = ParallelBeam((24, 20), (4, 5), 30)
    activity = torch.from_numpy(np.random.default_rng(seed).gamma(1.0, 1.0, (1, 24, 20, 2))).float()
    factor = torch.rand(1, *beam.sinogram_shape, 1, generator=torch.Generator().manual_seed(seed)) * 0.3
    return beam, factor, torch.poisson(factor * beam.project(activity), generator=torch.Generator().manual_seed(seed))


def test_every_update_of_mlem_raises_the_likelihood_of_the_counts() -> None:
    beam, factor, counts = counted()
    likelihoods, background = [], 0.4
    for iterations in range(1, 12):
        image = osem(beam, counts, factor, background, iterations)
        expected = (factor * beam.project(image) + background).double()
        likelihoods.append(float((counts * expected.log() - expected).sum()))
    assert (np.diff(likelihoods) > 0).all()


def test_every_update_of_mlem_expects_as_many_counts_as_there_are() -> None:
    beam, factor, counts = counted(1)
    for iterations in (1, 2, 7):
        expected = factor * beam.project(osem(beam, counts, factor, iterations=iterations))
        torch.testing.assert_close(expected.sum((1, 2)), counts.sum((1, 2)), rtol=1e-4, atol=0)


def test_a_slice_without_counts_comes_back_empty() -> None:
    image = osem(BEAM, torch.zeros(1, *BEAM.sinogram_shape))
    assert torch.equal(image, torch.zeros(1, *SHAPE))


@pytest.mark.parametrize("wrong", [{"window": "box"}, {"cutoff": 0.0}, {"cutoff": 1.5}])
def test_an_unknown_filter_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="window is one of"):
        filtered_backprojection(BEAM, disc_chords(50), **wrong)
