import logging

import nibabel
import numpy as np
import pytest
import SimpleITK

from medtrans import InputError
from medtrans.cohorts.volumes import Volume, read_volume, world_corners


def save(path, values, affine=None, **header):
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def some(shape=(4, 5, 6)):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_values_and_a_sheared_affine_are_read_as_they_are(tmp_path):
    affine = np.array([[2.0, 0, 0, 5], [0, 1, 0.4, -7], [0, 0, 3, 9], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(some(), None)
    image.set_sform(affine, code=1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.values.dtype == np.float32
    assert np.array_equal(volume.values, some())
    assert volume.affine == pytest.approx(affine)
    assert volume.spacing == pytest.approx(nibabel.affines.voxel_sizes(affine))


def test_corners_are_half_a_voxel_beyond_the_centres():
    corners = world_corners((2, 4, 10), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert corners.min(axis=0) == pytest.approx([-0.5, -1.0, -1.5])
    assert corners.max(axis=0) == pytest.approx([1.5, 7.0, 28.5])
    assert Volume(np.zeros((2, 4, 10)), np.eye(4)).corners().shape == (8, 3)


def test_the_sform_wins_over_a_different_qform_and_this_is_said(tmp_path, caplog):
    image = nibabel.Nifti1Image(some(), np.diag([-2.0, 2, 2, 1]))
    image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    with caplog.at_level(logging.WARNING):
        assert read_volume(tmp_path / "a.nii").affine[0, 0] == -2.0
    assert "sform and qform" in caplog.text


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    assert read_volume(save(tmp_path / "a.nii", some()[..., None])).values.shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (some((4, 5, 6, 2)), "three axes"),
        (np.full((4, 5, 6), 3.0, np.float32), "constant"),
        (np.where(some() == 7, np.nan, some()).astype(np.float32), "NaN"),
        (np.full((4, 5, 6), np.inf, np.float32), "NaN or infinite"),
        (some().astype(np.complex64), "complex"),
    ],
)
def test_unusable_volumes_are_refused_by_name(tmp_path, values, problem):
    with pytest.raises(InputError, match=problem) as caught:
        read_volume(save(tmp_path / "bad.nii.gz", values))
    assert "bad.nii.gz" in caught.value.subject


def test_a_truncated_file_and_another_format_are_refused(tmp_path):
    path = save(tmp_path / "cut.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)))
    path.write_bytes(path.read_bytes()[:2000])
    (tmp_path / "text.nii").write_text("no image")
    for name in ("cut.nii.gz", "text.nii", "absent.nii"):
        with pytest.raises(InputError, match="cannot be read"):
            read_volume(tmp_path / name)


def test_nan_is_replaced_when_asked(tmp_path):
    values = np.where(some() == 7, np.nan, some()).astype(np.float32)
    read = read_volume(save(tmp_path / "a.nii", values), replace_not_finite=-1.0).values
    assert read[0, 1, 1] == -1.0
    assert np.isfinite(read).all()


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_metaimage_and_nrrd_are_read_to_the_same_world_positions_as_simpleitk_has(tmp_path, ending):
    image = SimpleITK.GetImageFromArray(some().transpose().copy())
    image.SetSpacing((2.0, 1.5, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    path = tmp_path / f"a.{ending}"
    SimpleITK.WriteImage(image, str(path))
    volume = read_volume(path)
    to_index = np.linalg.inv(volume.affine)
    for index in np.ndindex(4, 5, 6):
        lps = np.array(image.TransformIndexToPhysicalPoint([int(n) for n in index]))
        at = to_index @ [*(lps * [-1, -1, 1]), 1.0]
        assert volume.values[tuple(np.rint(at[:3]).astype(int))] == some()[index]


def test_a_damaged_metaimage_and_a_constant_one_are_refused_by_name(tmp_path):
    (tmp_path / "a.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    with pytest.raises(InputError, match=r"a\.mha: the MetaImage header is damaged"):
        read_volume(tmp_path / "a.mha")
    SimpleITK.WriteImage(SimpleITK.Image(4, 4, 4, SimpleITK.sitkInt16), str(tmp_path / "b.mha"))
    with pytest.raises(InputError, match=r"b\.mha: is constant"):
        read_volume(tmp_path / "b.mha")
