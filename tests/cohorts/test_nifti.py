"""Volumes are written uncompressed, with both forms of the geometry."""

import nibabel
import numpy as np
import pytest

from medtrans.cohorts.nifti import write_nifti
from medtrans.errors import InputError

AFFINE = np.array([[2.0, 0, 0, -30], [0, 1.5, 0, 7], [0, 0, 3, 11], [0, 0, 0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_geometry_and_values_survive(tmp_path, dtype):
    volume = np.random.default_rng(0).integers(0, 200, (4, 5, 6)).astype(dtype)
    image = nibabel.load(write_nifti(tmp_path / "deep" / "T1.nii", volume, AFFINE))
    assert image.get_data_dtype() == dtype
    assert np.array_equal(np.asanyarray(image.dataobj), volume)
    for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
        assert code == 1
    assert image.header.get_xyzt_units()[0] == "mm"
    assert isinstance(image.dataobj.get_unscaled(), np.memmap)


def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_nifti(tmp_path / "file" / "T1.nii", np.zeros((2, 2, 2), np.float32), AFFINE)
