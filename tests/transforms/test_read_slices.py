import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medtrans import InputError
from medtrans.transforms import ReadSlices, ReadSlicesd, ReadVolumes, ReadVolumesd

SHAPE = (5, 6, 7)


@pytest.fixture
def paths(tmp_path):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = [-4, 5, 6]
    generator = np.random.default_rng(0)
    found = []
    for name in ("T1", "T2", "CT"):
        found.append(str(tmp_path / f"{name}.nii"))
        nibabel.save(nibabel.Nifti1Image(generator.normal(size=SHAPE).astype(np.float32), affine), found[-1])
    nibabel.save(nibabel.Nifti1Image((generator.random(SHAPE) > 0.5).astype(np.uint8), affine), tmp_path / "mask.nii")
    return {"source": found[:2], "target": found[2:], "mask": str(tmp_path / "mask.nii")}


@pytest.mark.parametrize(
    ("axis", "name", "shape"), [(2, "axial", (5, 6)), (1, "coronal", (5, 7)), (0, "sagittal", (6, 7))]
)
def test_channels_are_stacked_and_axes_keep_their_order(paths, axis, name, shape):
    expected = np.stack([nibabel.load(p).get_fdata().take(3, axis) for p in paths["source"]])
    for asked in (axis, name):
        read = ReadSlices()(paths["source"], asked, 3)
        assert read.shape == (2, *shape)
        assert read.dtype == torch.float32
        np.testing.assert_allclose(read.numpy(), expected, rtol=1e-6)


def test_items_get_tensors_in_the_place_of_paths(paths):
    item = ReadSlicesd()({**paths, "axis": 2, "index": 4, "case": "a"})
    assert {k: tuple(item[k].shape) for k in ("source", "target", "mask")} == {
        "source": (2, 5, 6),
        "target": (1, 5, 6),
        "mask": (1, 5, 6),
    }
    assert item["case"] == "a"
    assert all(type(item[k]) is torch.Tensor for k in ("source", "target", "mask"))
    np.testing.assert_array_equal(item["mask"][0].numpy(), nibabel.load(paths["mask"]).get_fdata()[..., 4])


@pytest.mark.parametrize("absent", [{}, {"mask": None}])
def test_without_a_mask_everything_counts(paths, absent):
    item = ReadSlicesd()({"source": paths["source"], "target": paths["target"], "axis": 2, "index": 0, **absent})
    assert item["mask"].shape == (1, 5, 6)
    assert (item["mask"] == 1).all()


def test_other_entries_may_be_missing_only_when_allowed(paths):
    item = {"source": paths["source"], "axis": 2, "index": 0}
    with pytest.raises(KeyError, match="target"):
        ReadSlicesd()(item)
    assert "target" not in ReadSlicesd(allow_missing_keys=True)(item)


def test_volumes_carry_their_affine(paths):
    volume = ReadVolumes()(paths["source"])
    assert isinstance(volume, MetaTensor)
    assert volume.shape == (2, *SHAPE)
    np.testing.assert_array_equal(volume.affine.numpy(), nibabel.load(paths["source"][0]).affine)
    np.testing.assert_allclose(volume[1].numpy(), nibabel.load(paths["source"][1]).get_fdata(), rtol=1e-6)
    item = ReadVolumesd()(paths | {"mask": None})
    assert item["mask"].shape == (1, *SHAPE)
    np.testing.assert_array_equal(item["mask"].affine.numpy(), volume.affine.numpy())


def test_channels_on_different_grids_are_refused(paths, tmp_path):
    moved = np.diag([1.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.float32), moved), tmp_path / "moved.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 8), np.float32), moved), tmp_path / "longer.nii")
    with pytest.raises(InputError, match="lies elsewhere"):
        ReadVolumes()([paths["source"][0], tmp_path / "moved.nii"])
    with pytest.raises(InputError, match="has the shape"):
        ReadSlices()([paths["source"][0], tmp_path / "longer.nii"], "axial", 0)
