"""Bad input to ``medtrans phantom``."""

import nibabel as nib
import numpy as np


def test_unknown_modality(kit, refused):
    refused(
        ["phantom", kit.folder / "out", "--subjects", "1", "--spacing", "12", "--modalities", "T3"],
        "T3",
        "Choose from T1",
    )


def test_nobody(kit, refused):
    refused(["phantom", kit.folder / "out", "--subjects", "0", "--spacing", "12"], "subjects 0", "at least 1")


def test_output_is_a_file(kit, refused):
    (kit.folder / "out").write_text("a file")
    refused(
        ["phantom", kit.folder / "out", "--subjects", "1", "--spacing", "12"], "out", "is a file", "Choose a folder"
    )


def test_below_a_file(kit, refused):
    (kit.folder / "file").write_text("a file")
    refused(
        ["phantom", kit.folder / "file/out", "--subjects", "1", "--spacing", "12"],
        "file/out",
        "cannot be written",
        "Choose a folder",
    )


def test_folder_of_something_else(kit, refused):
    refused(
        ["phantom", kit.data_set(), "--subjects", "7", "--spacing", "12"],
        "set",
        "other settings",
        "Choose another folder",
    )


def test_misspelt_option(kit, refused):
    refused(["phantom", kit.folder / "out", "--subject", "1"], "--subject")


def test_a_truncated_phantom_of_an_earlier_run_is_made_again(kit, run_medtrans):
    data = kit.data_set()
    for name in ("head-0001/T1.nii", "head-0002/mask.nii"):
        kit.cut(data / name)
    (data / "head-0003/label.nii").write_text("junk")
    words = ["phantom", data, "--subjects", "4", "--spacing", "12", "--modalities", "T1,T2"]
    assert run_medtrans(*words)[0] == 0
    for path in kit.phantoms.rglob("*.nii"):
        again = nib.load(data / path.relative_to(kit.phantoms))
        np.testing.assert_array_equal(again.get_fdata(), nib.load(path).get_fdata())
