"""Gibbs ringing against Fourier series: overshoot, period, resolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import find_peaks
from scipy.special import sici

from medtrans.simulate.mr.gibbs_ringing import GibbsRinging, GibbsRingingd

WILBRAHAM_GIBBS = 2 / np.pi * sici(np.pi)[0]  # 1.17898: half the step overshoots to this


def step_image(size: int = 4096) -> torch.Tensor:
    """From 100 to 200 and back, along the second axis."""
    image = torch.full((1, 4, size), 100.0)
    image[:, :, size // 4 : 3 * size // 4] = 200
    return image


def test_an_edge_overshoots_by_nine_percent_of_its_step() -> None:
    ringing = GibbsRinging(resolution=32.0, axes=[1])(step_image(), (1, 1)).as_tensor()[0, 0]
    overshoot = (ringing.max() - 150) / 50
    assert float(overshoot) == pytest.approx(WILBRAHAM_GIBBS, abs=2e-3)
    assert (float(overshoot) - 1) / 2 == pytest.approx(0.0895, abs=1e-3)
    assert (float(ringing.min()) - 150) / 50 == pytest.approx(-WILBRAHAM_GIBBS, abs=2e-3)


@pytest.mark.parametrize("resolution", [16.0, 32.0])
def test_rings_are_two_acquired_voxels_apart(resolution) -> None:
    """Extrema of the sine integral lie at multiples of π: one acquired voxel between a maximum and a minimum."""
    line = GibbsRinging(resolution, axes=[1])(step_image(), (1, 1)).as_tensor()[0, 0].numpy()
    plateau = line[1024 : 1024 + int(8 * resolution)]
    peaks, _ = find_peaks(plateau, prominence=0.1)
    assert np.diff(peaks[:3]).mean() == pytest.approx(2 * resolution, rel=0.05)
    assert peaks[0] == pytest.approx(resolution, abs=2)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(6, 25), min_size=2, max_size=3),
    st.floats(1.0, 4.0),
    st.lists(st.floats(0.5, 3), min_size=3, max_size=3),
)
def test_what_is_kept_is_what_numpy_keeps(sizes, resolution, spacing) -> None:
    """The partial Fourier sum over |f| ≤ 1/(2 resolution), written with numpy."""
    image = 10 + torch.rand(1, *sizes, generator=torch.Generator().manual_seed(0))
    spacing = spacing[: len(sizes)]
    kspace = np.fft.fftn(image[0].double().numpy())
    for axis, (size, step) in enumerate(zip(sizes, spacing, strict=True)):
        cut = np.abs(np.fft.fftfreq(size, step)) > 0.5 / resolution * (1 + 1e-6)
        if resolution > step * (1 + 1e-6):
            kspace[(slice(None),) * axis + (cut,)] = 0
    found = GibbsRinging(resolution)(image, spacing).as_tensor()[0]
    assert np.abs(found.numpy() - np.abs(np.fft.ifftn(kspace))).max() < 1e-4


def test_a_resolution_that_the_image_has_changes_nothing() -> None:
    image = torch.rand(1, 9, 12)
    assert torch.equal(GibbsRinging(1.0)(image, (1, 2)).as_tensor(), image)
    assert torch.allclose(GibbsRinging(coarser=1)(image, (1, 2)).as_tensor(), image)


def test_by_default_the_acquired_voxel_follows_those_of_the_image() -> None:
    ringing = GibbsRinging(coarser=(2, 2), axes=[1])
    ringing(torch.rand(1, 16, 16), (0.5, 2.0))
    assert ringing.parameters == {"resolution": [0.5, 4.0]}


def test_no_imaginary_part_is_lost_in_the_magnitude() -> None:
    """Both ends of k-space are cut alike, so a bright image stays real and keeps its mean, on even grids too."""
    image = 100 + torch.rand(1, 32, 33)
    found = GibbsRinging(2.5)(image, (1, 1)).as_tensor()
    assert float(found.mean()) == pytest.approx(float(image.mean()), rel=1e-6)


def test_a_dictionary_takes_the_spacing_of_its_item() -> None:
    item = {"source": step_image(64), "spacing": [1.0, 1.0, 9.0], "axis": 2}
    out = GibbsRingingd("source", resolution=4.0)(item)["source"]
    assert torch.equal(out.as_tensor(), GibbsRinging(4.0)(item["source"], (1, 1)).as_tensor())


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"resolution": 0}, {"coarser": 0.5}, {"axes": [3]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GibbsRinging(**wrong)
