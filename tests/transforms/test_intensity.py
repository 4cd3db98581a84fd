import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medtrans.transforms import FixedWindow, PercentileWindow, Window

VOLUME = np.random.default_rng(0).gamma(2, 50, (12, 12, 12)).astype(np.float32)
MASK = VOLUME > 80


@given(upper=st.floats(50, 100), lower=st.one_of(st.none(), st.floats(0, 40)))
def test_percentiles_are_numpys_inside_the_mask(upper, lower):
    window = PercentileWindow(upper=upper, lower=lower)(VOLUME, MASK)
    assert window.upper == pytest.approx(np.percentile(VOLUME[MASK], upper))
    assert window.lower == (0 if lower is None else pytest.approx(np.percentile(VOLUME[MASK], lower)))


@given(scale=st.floats(1e-2, 1e4))
def test_the_window_follows_the_scanners_gain_so_that_the_image_does_not(scale):
    rule = PercentileWindow()
    scaled = VOLUME * np.float32(scale)
    image = rule(VOLUME, MASK).normalise(VOLUME)
    assert rule(scaled, MASK).normalise(scaled) == pytest.approx(image, abs=1e-4)


def test_non_finite_values_and_an_empty_mask_are_left_out():
    broken = VOLUME.copy()
    broken[0, 0, 0], broken[1, 1, 1] = np.nan, np.inf
    rule = PercentileWindow(upper=100)
    assert rule(broken).upper == broken[np.isfinite(broken)].max()
    assert rule(VOLUME, np.zeros_like(MASK)) == rule(VOLUME)
    assert rule(torch.from_numpy(VOLUME), torch.from_numpy(MASK)) == rule(VOLUME, MASK)


@pytest.mark.parametrize("volume", [np.zeros((4, 4, 4)), -np.ones((4, 4, 4)), np.full((4, 4, 4), np.nan)])
def test_a_volume_without_contrast_is_refused(volume):
    with pytest.raises(ValueError, match=r"constant or negative|no finite"):
        PercentileWindow()(volume)


def test_a_fixed_window_does_not_look():
    assert FixedWindow(-1024, 2000, "HU")(np.full((2, 2), np.nan)) == Window(-1024, 2000, "HU")
