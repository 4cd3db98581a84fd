"""Bad input to ``medtrans translate``."""

import shutil

import nibabel as nib
import numpy as np
import torch


def test_input_that_is_not_there(kit, refused):
    refused(kit.translate(kit.folder / "absent.nii"), "absent.nii", "does not exist", "Give a NIfTI")


def test_empty_folder(kit, refused):
    (kit.folder / "empty").mkdir()
    refused(kit.translate(kit.folder / "empty"), "empty", "holds no files", "Give the folder")


def test_no_input(kit, refused):
    refused(kit.translate(""), "input", "is not given", "Give a NIfTI")


def test_truncated_nan_4d_colour_and_constant_volumes(kit, partly_done):
    scans = kit.scans(cases=(0, 1, 2, 3))
    for name in ("s4", "s5", "s9"):
        shutil.copy(scans / "s0.nii.gz", scans / f"{name}.nii.gz")
    kit.cut(scans / "s1.nii.gz")
    kit.spoil(scans / "s2.nii.gz", kit.with_nan)
    kit.spoil(scans / "s3.nii.gz", lambda values: np.stack([values, values], -1))
    kit.as_colours(scans / "s4.nii.gz")
    kit.spoil(scans / "s5.nii.gz", np.ones_like)
    partly_done(
        kit.translate(scans),
        "s1.nii.gz",
        "damaged or cut off",
        "s2.nii.gz",
        "not finite",
        "s3.nii.gz",
        "one volume",
        "s4.nii.gz",
        "s5",
        "constant",
        "Replace NaN",
        good=2,
    )


def test_truncated_plain_nifti_and_a_renamed_text_file(kit, partly_done):
    scans = kit.scans(cases=(0,))
    shutil.copy(kit.phantoms / "head-0001/T1.nii", scans / "a.nii")
    kit.cut(scans / "a.nii")
    (scans / "b.nii").write_text("not an image")
    partly_done(
        kit.translate(scans), "a.nii", "damaged or cut off", "Copy", "b.nii", "not a readable NIfTI", "Convert", good=1
    )


def test_truncated_dicom(kit, partly_done):
    kit.mr_series(kit.folder / "in/a", seed=1)
    kit.mr_series(kit.folder / "in/b", seed=2)
    kit.cut(kit.folder / "in/b/image004")
    partly_done(kit.translate(kit.folder / "in"), "in", "cannot be converted", good=1)


def test_a_modality_missing_in_a_sub_folder(kit, partly_done):
    scans = kit.scans(("T1", "T2"), (0, 1, 2), nested=True)
    (scans / "s1/T1.nii.gz").unlink()
    partly_done(kit.translate(scans), "s1", "has no T1.nii", "Add it", good=2)


def test_a_modality_missing_in_a_data_set(kit, partly_done):
    data = kit.data_set()
    text = (data / "cases.csv").read_text()
    (data / "cases.csv").write_text(text.replace("head-0001/T1.nii", ""))
    partly_done(kit.translate(data, "--split", "all"), "cases.csv", "head-0001", "names no T1", good=3)


def test_a_truncated_volume_of_a_data_set(kit, partly_done):
    data = kit.data_set()
    kit.cut(data / "head-0001/T1.nii")
    partly_done(kit.translate(data, "--split", "all"), "head-0001/T1.nii", "damaged", "Copy", good=3)


def test_a_data_set_of_other_modalities(kit, refused):
    data = kit.data_set()
    (data / "cases.csv").write_text((data / "cases.csv").read_text().replace("T1", "X1"))
    for folder in data.glob("head-*"):
        (folder / "T1.nii").rename(folder / "X1.nii")
    refused(kit.translate(data), "set", "no modality 'T1'", "another bundle")


def test_misspelt_split(kit, refused):
    refused(kit.translate(kit.phantoms, "--split", "tset"), "tset", "test")


def test_two_volumes_for_one_channel(kit, refused):
    scans = kit.scans()
    refused(kit.translate(f"{scans}/s0.nii.gz,{scans}/s1.nii.gz"), "is 2 volume(s)", "T1")


def test_output_is_a_file(kit, refused):
    (kit.folder / "out").write_text("a file")
    refused(kit.translate(kit.scans()), "out", "cannot be written", "Choose a folder")


def test_output_is_a_file_input_dicom(kit, refused):
    (kit.folder / "out").write_text("a file")
    kit.mr_series(kit.folder / "in")
    refused(kit.translate(kit.folder / "in"), "out", "cannot be written", "Choose a folder")


def test_a_case_whose_name_is_too_long(kit, partly_done):
    scans = kit.scans(cases=(0, 1))
    (scans / "s1.nii.gz").rename(scans / f"{'x' * 240}.nii.gz")
    partly_done(kit.translate(scans), "cannot be written", "shorter names", good=1)


def test_no_bundle(kit, refused):
    refused(
        ["translate", kit.folder / "nowhere", kit.scans(), kit.folder / "out"],
        "nowhere",
        "is not a bundle",
        "Give the bundle's folder",
    )


def test_untrained_bundle(kit, refused):
    refused(kit.translate(kit.scans(), models=kit.folder / "untrained"), "modalities.json", "Train the bundle first")


def test_model_absent(kit, refused):
    models = kit.model()
    (models / "model.pt").unlink()
    refused(kit.translate(kit.scans(), models=models), "model.pt", "does not exist", "Train the bundle first")


def test_truncated_model(kit, refused):
    models = kit.model()
    kit.cut(models / "model.pt")
    refused(kit.translate(kit.scans(), models=models), "model.pt", "damaged", "Restore a copy")


def test_model_of_another_architecture(kit, refused):
    models = kit.model()
    torch.save({"weight": torch.zeros(3)}, models / "model.pt")
    refused(kit.translate(kit.scans(), models=models), "model.pt", "does not fit the network", "Use the config")


def test_truncated_modalities_json(kit, refused):
    models = kit.model()
    kit.cut(models / "modalities.json")
    refused(kit.translate(kit.scans(), models=models), "modalities.json", "not readable JSON", "Train")


def test_misspelt_key(kit, refused):
    refused(kit.translate(kit.scans(), "--set", "overlp=0.5"), "inference.json", "overlp", "Did you mean 'overlap'")


def test_misspelt_nested_key(kit, refused):
    refused(
        kit.translate(kit.scans(), "--set", "infere#overlap=0.5"), "inference.json", "infere", "Did you mean 'inferer'"
    )


def test_misspelt_argument(kit, refused):
    refused(
        kit.translate(kit.scans(), "--set", "inferer#overlp=0.5"), "inference.json", "overlp", "Did you mean 'overlap'"
    )


def test_impossible_value(kit, refused):
    refused(kit.translate(kit.scans(), "--set", "overlap=1.5"), "overlap", "Choose")


def test_impossible_axis(kit, refused):
    refused(kit.translate(kit.scans(), "--set", "axis=diagonal"), "diagonal", "axial")


def test_overlay_that_is_not_there(kit, refused):
    refused(
        kit.translate(kit.scans(), "--config", kit.folder / "mine.json"), "mine.json", "does not exist", "Give the path"
    )


def test_broken_overlay(kit, refused):
    (kit.folder / "mine.json").write_text("{,}")
    refused(kit.translate(kit.scans(), "--config", kit.folder / "mine.json"), "mine.json", "not readable JSON", "Mend")


def test_misspelt_key_in_an_overlay(kit, refused):
    (kit.folder / "mine.json").write_text('{"overlp": 0.5}')
    refused(
        kit.translate(kit.scans(), "--config", kit.folder / "mine.json"),
        "mine.json",
        "overlp",
        "Did you mean 'overlap'",
    )


def test_a_volume_smaller_than_the_window_is_no_error(kit, run_medtrans):
    scans = kit.scans(cases=(0,))
    kit.spoil(scans / "s0.nii.gz", lambda values: values[6:11, 5:12, 7:10])
    assert run_medtrans(*kit.translate(scans))[0] == 0
    assert nib.load(next((kit.folder / "out").glob("*.nii.gz"))).shape == (5, 7, 3)
