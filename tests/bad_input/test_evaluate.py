"""Bad input to ``medtrans evaluate``."""

import nibabel as nib
import numpy as np

OF_SET = ["--target", "T2", "--split", "all"]


def test_predictions_that_are_not_there(kit, refused):
    refused(kit.evaluate(kit.folder / "absent", kit.phantoms, *OF_SET), "absent", "Check the path")


def test_empty_folder(kit, refused):
    (kit.folder / "empty").mkdir()
    refused(kit.evaluate(kit.folder / "empty", kit.phantoms, *OF_SET), "empty", "holds no NIfTI", "Check the path")


def test_truncated_nan_and_missing_predictions(kit, partly_done):
    predictions = kit.predictions()
    kit.cut(predictions / "head-0000_T2_synthetic.nii.gz")
    kit.spoil(predictions / "head-0001_T2_synthetic.nii.gz", kit.with_nan)
    (predictions / "head-0002_T2_synthetic.nii.gz").unlink()
    partly_done(
        kit.evaluate(predictions, kit.phantoms, *OF_SET),
        "head-0000_T2",
        "cannot be read",
        "Write the file again",
        "head-0001_T2",
        "NaN",
        "head-0002",
        "has no prediction",
        "Translate it",
    )


def test_other_grids_and_channels(kit, partly_done):
    predictions = kit.predictions()
    kit.spoil(predictions / "head-0000_T2_synthetic.nii.gz", lambda values: values[1:])
    moved = nib.load(predictions / "head-0001_T2_synthetic.nii.gz")
    affine = moved.affine + np.eye(4)[:, [3]] @ np.zeros((1, 4))
    affine[0, 3] += 30
    nib.save(nib.Nifti1Image(np.asarray(moved.dataobj), affine), predictions / "head-0001_T2_synthetic.nii.gz")
    kit.spoil(predictions / "head-0002_T2_synthetic.nii.gz", lambda values: np.stack([values, values], -1))
    partly_done(
        kit.evaluate(predictions, kit.phantoms, *OF_SET),
        "head-0000_T2",
        "voxels",
        "Bring both onto one grid",
        "head-0001_T2",
        "elsewhere in space",
        "head-0002_T2",
        "axes",
    )


def test_a_prediction_whose_case_has_no_target(kit, partly_done):
    data = kit.data_set()
    (data / "cases.csv").write_text((data / "cases.csv").read_text().replace("head-0001/T2.nii", ""))
    partly_done(kit.evaluate(kit.predictions(), data, *OF_SET), "head-0001", "no target", "Prepare the case")


def test_predictions_of_other_cases(kit, refused):
    predictions = kit.predictions()
    for path in predictions.iterdir():
        path.rename(predictions / path.name.replace("head", "skull"))
    refused(kit.evaluate(predictions, kit.phantoms, *OF_SET), "pred", "no prediction for any", "Name predictions")


def test_a_target_that_no_case_has(kit, refused):
    refused(kit.evaluate(kit.predictions(), kit.phantoms, "--target", "CT"), "CT", "is in no case", "--target")


def test_unknown_metric(kit, refused):
    refused(
        ["evaluate", kit.predictions(), kit.phantoms, "--output", kit.folder / "out", "--metrics", "psrn", *OF_SET],
        "psrn",
        "psnr",
    )


def test_misspelt_split(kit, refused):
    refused(kit.evaluate(kit.predictions(), kit.phantoms, "--target", "T2", "--split", "tset"), "tset", "test")


def test_output_is_a_file(kit, refused):
    (kit.folder / "out").write_text("a file")
    refused(kit.evaluate(kit.predictions(), kit.phantoms, *OF_SET), "out", "cannot be written", "Choose a folder")


def test_folders_without_a_range(kit, refused):
    refused(kit.evaluate(kit.predictions(), kit.scans(("T2",))), "data range", "--data-range")
