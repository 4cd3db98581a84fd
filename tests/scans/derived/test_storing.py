"""Values as integers and back, by PS3.3 C.11.1: value = stored · slope + intercept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import format_number_as_ds

from medtrans.scans.derived.storing import stored_ct, stored_mr, stored_pet

volumes = st.tuples(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e7), st.floats(-3, 3)).map(
    lambda drawn: ((np.random.default_rng(drawn[0]).normal(drawn[2], 1, (3, 4, 5))) * drawn[1]).astype(np.float32)
)


def back(stored):
    slope, intercept = float(format_number_as_ds(stored.slope or 1.0)), stored.intercept or 0.0
    return stored.pixels.astype(float) * slope + float(format_number_as_ds(float(intercept)))


@given(volumes)
@pytest.mark.parametrize("store", [stored_pet, stored_mr])
def test_values_come_back_within_half_a_step(store, values):
    for plane, stored in zip(values, store(values), strict=True):
        assert np.abs(back(stored) - plane).max() <= 0.5001 * (stored.slope or 1.0)


@given(volumes)
def test_pet_has_no_intercept_and_uses_the_whole_range_of_each_slice(values):
    for plane, stored in zip(values, stored_pet(values), strict=True):
        assert stored.intercept == 0
        assert np.abs(stored.pixels.astype(int)).max() >= 32766
        assert stored.slope * 32767 == pytest.approx(np.abs(plane).max(), rel=1e-6)


def test_ct_is_rounded_to_hu_and_begins_at_air():
    values = np.array([[[-3024, -1024, -999.6, 0.4, 3071.5, 20000]]], np.float32)
    (stored,) = stored_ct(values)
    assert stored.pixels.dtype == np.uint16
    np.testing.assert_array_equal(back(stored), [[-1024, -1024, -1000, 0, 3072, 20000]])


@pytest.mark.parametrize(("low", "high", "dtype"), [(0, 65535, np.uint16), (-5, 900, np.int16)])
def test_integers_of_mr_are_stored_as_they_are(low, high, dtype):
    values = np.array([[[low, 3, high]], [[0, 1, 2]]], np.float32)
    for plane, stored in zip(values, stored_mr(values), strict=True):
        assert stored.slope is None
        assert stored.pixels.dtype == dtype
        np.testing.assert_array_equal(stored.pixels, plane)


def test_one_scale_holds_for_all_slices_of_mr():
    values = np.array([[[-1.5, 3]], [[0.25, 100]]], np.float32)
    assert len({(stored.slope, stored.intercept) for stored in stored_mr(values)}) == 1


@pytest.mark.parametrize("store", [stored_pet, stored_mr])
def test_nothing_at_all_is_zero(store):
    (stored,) = store(np.zeros((1, 3, 3), np.float32))
    np.testing.assert_array_equal(back(stored), 0)
