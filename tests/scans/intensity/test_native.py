import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medtrans import InputError
from medtrans.scans.export.headers import read_dicom
from medtrans.scans.intensity import pixels
from medtrans.scans.intensity.native import native_pixels
from medtrans.scans.intensity.pixels import decoded


@pytest.mark.parametrize("encoding", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, "no preamble"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_plain_pixels_are_read_in_place_and_equal_pydicoms(make_series, encoding, dtype):
    limits = np.iinfo(dtype)
    values = np.random.default_rng(1).integers(limits.min, limits.max, (1, 7, 5), dtype, endpoint=True)
    file = read_dicom(make_series(values).write(0, encoding=encoding))
    read = native_pixels(file)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(pixels._by_pydicom(file), values)


@pytest.mark.parametrize("encoding", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_other_encodings_are_left_to_pydicom(make_series, encoding):
    series = make_series(shape=(1, 6, 8))
    file = read_dicom(series.write(0, encoding=encoding))
    assert native_pixels(file) is None
    np.testing.assert_array_equal(decoded(file), series.pixels)


@pytest.mark.parametrize("cut", [1, 2, 11, 60])
def test_file_cut_short_is_refused(make_series, cut):
    path = make_series(shape=(1, 6, 8)).write(0)
    path.write_bytes(path.read_bytes()[:-cut])
    file = read_dicom(path)
    assert native_pixels(file) is None
    with pytest.raises(InputError, match=rf"cut short \({96 - cut} of 96 bytes\)"):
        decoded(file)


def test_fewer_or_more_bytes_than_the_matrix_has_are_not_taken_in_place(make_series):
    series = make_series(shape=(1, 6, 8))
    for rows in (5, 7):
        assert native_pixels(read_dicom(series.write(0, Rows=rows))) is None


def test_odd_number_of_bytes_has_one_more_that_is_no_pixel(make_series):
    values = np.arange(15, dtype=np.uint8).reshape(1, 3, 5)
    np.testing.assert_array_equal(native_pixels(read_dicom(make_series(values).write(0))), values)


def test_file_that_goes_on_after_its_pixels_is_left_to_pydicom(make_series):
    series = make_series(shape=(1, 6, 8))
    path = series.write(0)
    data = path.read_bytes()
    path.write_bytes(data + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0" + bytes(4))  # Data Set Trailing Padding
    np.testing.assert_array_equal(decoded(read_dicom(path)), series.pixels)
    path.write_bytes(data + data[data.find(b"\xe0\x7f\x10\x00") :][:12] + bytes(96))  # pixel data twice
    file = read_dicom(path)
    assert native_pixels(file) is None
    np.testing.assert_array_equal(decoded(file), pixels._by_pydicom(file))
