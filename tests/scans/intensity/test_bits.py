import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medtrans import InputError
from medtrans.scans.intensity.bits import meaningful, padding_range


@given(
    bits=st.integers(2, 15),
    values=hnp.arrays(np.int32, 12, elements=st.integers(0, 2**15 - 1)),
    signed=st.booleans(),
    garbage=st.integers(0, 2**16 - 1),
)
def test_bits_above_those_stored_never_reach_the_values(bits, values, signed, garbage):
    truth = values % 2**bits - (2 ** (bits - 1) if signed else 0)
    high = (garbage << bits) & 0xFFFF
    raw = ((truth & (2**bits - 1)) | high).astype(np.uint16).view(np.int16 if signed else np.uint16)
    tags = {"BitsStored": bits, "BitsAllocated": 16, "OverlayBitPosition": bits}
    np.testing.assert_array_equal(meaningful(raw, tags, "image"), truth)


@given(values=hnp.arrays(np.int16, 12, elements=st.integers(-2048, 2047)), extended=st.booleans())
def test_sign_is_found_with_and_without_its_extension(values, extended):
    raw = values if extended else values & 0x0FFF
    np.testing.assert_array_equal(meaningful(raw, {"BitsStored": 12}, "image"), values)


def test_padding_beyond_the_bits_stored_stays_padding():
    raw = np.array([0, 4095, 63536], np.uint16)
    tags = {"BitsStored": 12, "BitsAllocated": 16, "PixelPaddingValue": 63536}
    np.testing.assert_array_equal(meaningful(raw, tags, "image"), raw)


@pytest.mark.parametrize("raw", [np.array([0, 5000], np.uint16), np.array([-3000, 5], np.int16)])
def test_values_that_do_not_fit_their_bits_are_refused(raw):
    with pytest.raises(InputError, match="1 of its values do not fit BitsStored 12"):
        meaningful(raw, {"BitsStored": 12, "BitsAllocated": 16}, "image")


def test_high_bit_at_the_top_means_values_at_the_top():
    values = np.array([0, 1, 4095, 2748], np.uint16)
    tags = {"BitsStored": 12, "HighBit": 15}
    np.testing.assert_array_equal(meaningful(values << 4, tags, "image"), values)
    signed = np.array([-2048, -1, 0, 2047], np.int16)
    np.testing.assert_array_equal(meaningful(signed << 4, tags, "image"), signed)


def test_wrong_high_bit_over_values_at_the_bottom_is_seen_through():
    values = np.array([0, 1, 4095, 2748], np.uint16)
    np.testing.assert_array_equal(meaningful(values, {"BitsStored": 12, "HighBit": 15}, "image"), values)
    with pytest.raises(InputError, match="fit neither HighBit 15 nor BitsStored 12"):
        meaningful(np.array([1, 5000], np.uint16), {"BitsStored": 12, "HighBit": 15}, "image")


def test_padding_of_a_signed_image_given_as_unsigned_is_understood():
    assert padding_range({"PixelPaddingValue": 63536, "BitsAllocated": 16}, np.dtype(np.int16)) == (-2000, -2000)
    assert padding_range({"PixelPaddingValue": -1, "BitsAllocated": 16}, np.dtype(np.uint16)) == (65535, 65535)
    limits = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1500}
    assert padding_range(limits, np.dtype(np.int16)) == (-2000, -1500)
    assert padding_range({}, np.dtype(np.int16)) is None


def test_padding_of_floating_point_pixels_has_tags_of_its_own():
    tags = {"PixelPaddingValue": 7, "FloatPixelPaddingValue": -5.0, "FloatPixelPaddingRangeLimit": -9.0}
    assert padding_range(tags, np.dtype(np.float32)) == (-9.0, -5.0)
    assert padding_range({"PixelPaddingValue": 7}, np.dtype(np.float64)) is None
