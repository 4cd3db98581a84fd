"""A small export to pack into archives."""

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def two_series(make_series):
    """A CT and an MR of two patients, a NIfTI, and a text, in folders with odd names; 11 files."""
    first = make_series(shape=(4, 6, 8), seed=1)
    for k in range(4):
        first.write(k, f"Größe/Ж{k}")
    second = make_series(shape=(5, 6, 8), seed=2, PatientID="B", Modality="CT", RescaleIntercept=-1024, RescaleSlope=1)
    for k in range(5):
        second.write(k, f"b/{k}.dcm")
    (first.folder / "sub-01").mkdir()
    image = nib.Nifti1Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.eye(4))
    nib.save(image, first.folder / "sub-01" / "sub-01_T1w.nii.gz")
    (first.folder / "readme").write_text("hello")
    return first.folder
