import gzip
import hashlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtrans.scans.output.storage import storage_of
from medtrans.scans.output.volume import Volume, write_volume

SHAPES = st.sampled_from([(3, 4, 5), (2, 3, 4, 2), (1, 1, 1)])
EPS = float(np.finfo(np.float32).eps)


def read_back(array, scale, folder, name="x.nii.gz"):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    write_volume(Volume(array, affine, {}, stored_scale=scale), folder / name)
    return nib.load(folder / name)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["i2", "u2", "i1", "u1"]))
def test_integers_come_back_exactly_from_int16(tmp_path_factory, data, kind):
    integers = data.draw(arrays.arrays(kind, data.draw(SHAPES)))
    offset = data.draw(st.integers(-2000, 2000))
    array = integers.astype(np.float32) + offset
    image = read_back(array, None, tmp_path_factory.mktemp("x"))
    assert image.get_data_dtype() == np.int16
    assert image.dataobj.slope == 1
    np.testing.assert_array_equal(image.get_fdata(), array)


@settings(deadline=None, max_examples=100)
@given(
    st.data(),
    st.floats(1e-6, 1e6) | st.floats(-1e3, -1e-3),
    st.floats(-1e5, 1e5),
    st.sampled_from(["i2", "u2"]),
)
def test_values_of_one_scale_come_back_to_the_rounding_of_float32(tmp_path_factory, data, slope, intercept, kind):
    integers = data.draw(arrays.arrays(kind, data.draw(SHAPES)))
    array = (integers.astype(np.float64) * slope + intercept).astype(np.float32)
    image = read_back(array, (slope, intercept), tmp_path_factory.mktemp("x"))
    bound = 2 * EPS * np.maximum(np.abs(array), abs(image.dataobj.inter))
    assert (np.abs(image.get_fdata() - array.astype(np.float64)) <= bound).all()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_float32_values_come_back_exactly_without_a_scale(tmp_path_factory, data):
    elements = st.floats(-(2.0**100), 2.0**100, width=32)
    array = data.draw(arrays.arrays(np.float32, data.draw(SHAPES), elements=elements))
    np.testing.assert_array_equal(read_back(array, None, tmp_path_factory.mktemp("x")).get_fdata(), array)


@pytest.mark.parametrize("scale", [(0.5, 0.0), (3.7e-4, -1.5), (1.0, -1024.0), (12.0, 0.0), (-0.25, 3.0)])
@pytest.mark.parametrize("kind", ["int16", "uint16"])
def test_one_scale_for_all_is_kept_in_the_header(tmp_path, scale, kind):
    info = np.iinfo(kind)
    integers = np.linspace(info.min, info.max, 5 * 6 * 7).astype(kind).reshape(5, 6, 7)
    array = (integers * np.float64(scale[0]) + scale[1]).astype(np.float32)
    image = read_back(array, scale, tmp_path)
    assert image.get_data_dtype() == np.int16
    np.testing.assert_allclose(image.get_fdata(), array, rtol=3e-7, atol=1e-3 * abs(scale[0]))


def test_slices_scaled_one_by_one_are_float32(tmp_path):
    integers = np.random.default_rng(0).integers(1, 30000, (4, 5, 6))
    array = (integers * np.linspace(0.31, 0.97, 6)).astype(np.float32)
    image = read_back(array, (0.31, 0.0), tmp_path)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.get_fdata(), array)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (float("nan"), 0.0), (1e-40, 0.0), (1.0, float("inf"))])
def test_a_scale_that_is_none_is_not_used(scale):
    array = np.array([[[0.5, 1.25]]], np.float32)
    storage = storage_of(array, scale)
    np.testing.assert_array_equal(list(storage.planes(array)), [array[..., 0], array[..., 1]])
    assert (storage.dtype, storage.slope, storage.intercept) == (np.float32, 1.0, 0.0)


def test_simpleitk_reads_the_same_values_through_the_scale(tmp_path):
    integers = np.random.default_rng(1).integers(0, 65536, (4, 5, 6))
    array = (integers * 0.01 - 3).astype(np.float32)
    read_back(array, (0.01, -3.0), tmp_path)
    values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "x.nii.gz"), SimpleITK.sitkFloat64))
    np.testing.assert_allclose(values.transpose(2, 1, 0), array, rtol=3e-7, atol=3e-5)


@pytest.mark.parametrize("order", ["C", "F"])
def test_equal_volumes_are_equal_bytes_and_plain_gzip(tmp_path, order):
    array = np.asarray(np.random.default_rng(2).integers(0, 900, (9, 8, 7)).astype(np.float32), order=order)
    for name in ("one.nii.gz", "two.nii.gz", "plain.nii"):
        read_back(array[::-1], None, tmp_path, name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.nii.gz", "two.nii.gz"))
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()
    assert gzip.decompress(one) == (tmp_path / "plain.nii").read_bytes()
    np.testing.assert_array_equal(nib.load(tmp_path / "plain.nii").get_fdata(), array[::-1])
