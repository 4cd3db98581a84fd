import gzip
import tracemalloc

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.transforms.mapped_nifti import MappedNifti, axis_number


def saved(path, values, affine=None, slope=None):
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, ">i2"])
def test_planes_and_volumes_equal_nibabels(tmp_path, suffix, dtype):
    values = np.random.default_rng(0).integers(0, 200, (5, 6, 7)).astype(dtype)
    path = saved(tmp_path / f"a{suffix}", values, slope=(0.5, -3.0) if np.dtype(dtype).kind in "iu" else None)
    expected = nibabel.load(path).get_fdata()
    volume = MappedNifti.open(path)
    assert volume.shape == (5, 6, 7)
    assert volume.volume().dtype == np.float32
    np.testing.assert_allclose(volume.volume(), expected, rtol=1e-6)
    for axis in range(3):
        for index in range(volume.shape[axis]):
            np.testing.assert_allclose(volume.plane(axis, index), expected.take(index, axis), rtol=1e-6)


def test_only_the_slice_is_read_not_the_volume(tmp_path):
    path = tmp_path / "huge.nii"
    shape = (256, 256, 30_000)  # 7.9 GB as float32, sparse on disk
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.eye(4), code=1)
    plane = np.random.default_rng(0).random(shape[:2], dtype=np.float32)
    with path.open("wb") as file:
        header.write_to(file)
        file.seek(352 + 4 * 256 * 256 * 20_000)
        file.write(plane.tobytes(order="F"))
        file.truncate(352 + 4 * int(np.prod(shape, dtype=np.int64)))
    MappedNifti.open(path)
    tracemalloc.start()
    try:
        read = MappedNifti.open(path).plane(2, 20_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(read, plane)
    assert peak < 4 * plane.nbytes


@given(k=st.integers(-3, 12))
@settings(deadline=None, max_examples=20)
def test_slices_that_do_not_exist_are_refused(tmp_path_factory, k):
    path = tmp_path_factory.mktemp("a") / "a.nii"
    saved(path, np.zeros((4, 5, 6), np.float32))
    if 0 <= k < 6:
        assert MappedNifti.open(path).plane(2, k).shape == (4, 5)
    else:
        with pytest.raises(InputError, match="has no slice"):
            MappedNifti.open(path).plane(2, k)


def test_a_file_that_changed_is_read_anew(tmp_path):
    path = saved(tmp_path / "a.nii", np.zeros((4, 5, 6), np.float32))
    assert MappedNifti.open(path).shape == (4, 5, 6)
    saved(path, np.ones((3, 3, 3), np.int16))
    assert MappedNifti.open(path).shape == (3, 3, 3)
    assert MappedNifti.open(path).volume().max() == 1


def test_an_image_of_two_dimensions_is_one_axial_slice(tmp_path):
    values = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    for name in ("a.nii", "a.nii.gz"):
        volume = MappedNifti.open(saved(tmp_path / name, values))
        assert volume.shape == (4, 5, 1)
        np.testing.assert_array_equal(volume.plane(2, 0), values)


def test_a_trailing_single_time_point_is_no_obstacle(tmp_path):
    values = np.random.default_rng(0).random((4, 5, 6, 1)).astype(np.float32)
    for name in ("a.nii", "a.nii.gz"):
        np.testing.assert_array_equal(MappedNifti.open(saved(tmp_path / name, values)).plane(0, 2), values[2, ..., 0])


def test_what_is_not_one_volume_is_refused_by_name(tmp_path):
    four = saved(tmp_path / "four.nii", np.zeros((4, 5, 6, 3), np.float32))
    phase = saved(tmp_path / "phase.nii", np.zeros((4, 5, 6), np.complex64))
    text = tmp_path / "text.nii"
    text.write_text("no image")
    cut = saved(tmp_path / "cut.nii", np.zeros((4, 5, 6), np.float32))
    cut.write_bytes(cut.read_bytes()[:-40])
    cut_gz = saved(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((20, 20, 20)).astype(np.float32))
    cut_gz.write_bytes(cut_gz.read_bytes()[:-900])
    nan = saved(tmp_path / "nan.nii", np.full((4, 5, 6), np.nan, np.float32))
    for path, problem in [
        (four, "not one real-valued volume"),
        (phase, "not one real-valued volume"),
        (text, "not a readable NIfTI"),
        (tmp_path / "absent.nii", "cannot be read"),
        (cut, "damaged or cut off"),
        (cut_gz, "damaged or cut off"),
        (nan, "not finite"),
    ]:
        with pytest.raises(InputError, match=problem) as caught:
            MappedNifti.open(path).volume()
        assert path.name in str(caught.value)


def test_a_header_without_geometry_is_refused(tmp_path):
    flat = saved(tmp_path / "flat.nii", np.zeros((4, 5, 6), np.float32))
    image = nibabel.load(flat)
    image.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), None, image.header), tmp_path / "b.nii")
    with pytest.raises(InputError, match="no usable geometry"):
        MappedNifti.open(tmp_path / "b.nii")


def test_compressed_files_are_told_from_mapped_ones(tmp_path):
    path = saved(tmp_path / "a.nii", np.zeros((4, 5, 6), np.float32))
    compressed = tmp_path / "a.nii.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    assert MappedNifti.open(path).mapped
    assert not MappedNifti.open(compressed).mapped


def test_axes_have_names():
    assert [axis_number(name) for name in ("sagittal", "coronal", "axial", 1)] == [0, 1, 2, 1]
    for wrong in ("transversal", 3, -1):
        with pytest.raises(InputError, match="does not exist"):
            axis_number(wrong)
