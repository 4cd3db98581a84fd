"""The shading field: its size, its smoothness, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from medtrans.simulate.mr.bias_field import BiasField, BiasFieldd
from medtrans.simulate.mr.smooth_field import smooth_field

CPU = torch.device("cpu")
SIZES = st.lists(st.integers(4, 30), min_size=2, max_size=3)


def image_of(*shape: int) -> torch.Tensor:
    return 50 + 900 * torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=40, deadline=None)
@given(SIZES, st.floats(0, 90), st.floats(20, 200), st.floats(0.5, 4))
def test_the_field_has_mean_1_and_the_strength_that_was_asked_for(sizes, strength, length, step) -> None:
    shade = BiasField(strength, length)
    image = torch.full((1, *sizes), 7.0)
    field = shade(image, [step] * len(sizes)).as_tensor() / 7
    assert float(field.mean()) == pytest.approx(1, abs=1e-5)
    assert float(field.max() - field.min()) == pytest.approx(strength / 100, abs=1e-5)
    assert float(field.min()) > 0


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(0, 99))
def test_undo_gives_the_image_back(sizes, seed) -> None:
    image = MetaTensor(image_of(*sizes))
    shade = BiasField(95).set_random_state(seed)
    back = shade.inverse(shade(image))
    assert float(((back - image).abs() / image).max()) < 1e-5
    assert back.meta["degradations"] == []


def test_a_dictionary_takes_the_field_back_too() -> None:
    item = {"source": MetaTensor(image_of(12, 10)), "spacing": [1.0, 2.0, 3.0], "axis": 2}
    shade = BiasFieldd("source", strength_percent=50).set_random_state(2)
    shaded = shade(item)
    assert not torch.allclose(shaded["source"].as_tensor(), item["source"].as_tensor(), rtol=0.05)
    assert torch.allclose(shade.inverse(shaded)["source"].as_tensor(), item["source"].as_tensor(), rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_correlation_falls_with_the_length_in_mm_along_every_axis(axis) -> None:
    """Between points d apart exp(-d²/2L²), over many fields that are not rescaled by their own range."""
    shape, spacing, length = [1, 1, 1], [1.0, 1.0, 1.0], 30.0
    shape[axis], spacing[axis] = 41, 5.0
    fields = np.stack([smooth_field(shape, spacing, length, [seed], CPU).numpy().ravel() for seed in range(400)])
    increments = ((fields[:, 4:] - fields[:, :-4]) ** 2).mean() / ((fields[:, 2:] - fields[:, :-2]) ** 2).mean()
    expected = (1 - np.exp(-((20 / 30) ** 2) / 2)) / (1 - np.exp(-((10 / 30) ** 2) / 2))
    assert increments == pytest.approx(expected, rel=0.06)


def test_the_same_anatomy_on_another_grid_has_the_same_field() -> None:
    """The centre of the field of view is where millimetres are counted from."""
    coarse = smooth_field((21, 31), (4.0, 2.0), 40, [1], CPU)
    fine = smooth_field((41, 61), (2.0, 1.0), 40, [1], CPU)[::2, ::2]
    assert float(torch.corrcoef(torch.stack([coarse.flatten(), fine.flatten()]))[0, 1]) > 0.99999


def test_one_field_for_all_channels_and_another_for_another_seed() -> None:
    image = image_of(16, 16)
    ratio = BiasField().set_random_state(1)(image, (5, 5)).as_tensor() / image
    assert torch.allclose(ratio[0], ratio[1], rtol=1e-5)
    other = BiasField().set_random_state(2)(image, (5, 5)).as_tensor() / image
    assert not torch.allclose(ratio, other, rtol=0.01)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"strength_percent": 100}, {"strength_percent": (-5, 5)}, {"length": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BiasField(**wrong)
