import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medtrans.transforms import Window

bounds = st.tuples(st.floats(-5000, 5000), st.floats(1e-3, 60000)).map(lambda pair: (pair[0], pair[0] + pair[1]))
values = arrays(np.float64, (3, 4, 5), elements=st.floats(-1e5, 1e5))


@given(bounds, values)
def test_the_recorded_window_restores_every_value(bounds, values):
    window = Window(*bounds, unit="HU")
    again = Window(**json.loads(json.dumps(window.record())))
    assert again == window
    restored = again.restore(window.normalise(values, clip=False))
    assert np.abs(restored - values).max() <= 1e-9 * (np.abs(values).max() + np.abs(bounds).max())


@given(bounds, values)
def test_clipping_restores_what_lies_inside_and_its_bounds_elsewhere(bounds, values):
    window = Window(*bounds)
    scaled = window.normalise(values)
    assert scaled.min() >= -1
    assert scaled.max() <= 1
    expected = np.clip(values, *bounds)
    assert np.abs(window.restore(scaled) - expected).max() <= 1e-9 * (1 + np.abs(bounds).max())


@given(bounds)
def test_bounds_meet_minus_one_and_one(bounds):
    window = Window(*bounds)
    ends = np.array(bounds)
    assert window.normalise(ends, clip=False) == pytest.approx([-1, 1], abs=1e-6)
    assert window.restore(np.array([-1.0, 1.0])) == pytest.approx(ends, abs=1e-9 * np.abs(ends).max() + 1e-12)


def test_float32_tensors_come_back_within_their_precision():
    hounsfield = torch.linspace(-1024, 2000, 3025)
    window = Window(-1024, 2000, "HU")
    assert (window.restore(window.normalise(hounsfield)) - hounsfield).abs().max() < 1e-3


@pytest.mark.parametrize("bounds", [(1, 1), (2, 1), (float("nan"), 1), (0, float("inf"))])
def test_an_empty_window_is_refused(bounds):
    with pytest.raises(ValueError, match="lower < upper"):
        Window(*bounds)
