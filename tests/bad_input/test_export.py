"""Bad input to ``medtrans export``, and to ``medtrans translate --dicom``."""

import json

import nibabel as nib
import numpy as np

ALGORITHM = ("--algorithm", "Copy", "--modality", "MR")


def on_grid(kit, folder, *names, shift=0.0):
    """Volumes on the grid of ``kit.mr_series``, see tests/conftest.py."""
    affine = np.diag([-2.5, -2.5, 3.0, 1.0])
    affine[:3, 3] = 20 + shift, 25, 0
    folder.mkdir(exist_ok=True)
    for name in names:
        nib.save(nib.Nifti1Image(np.ones((18, 20, 12), np.float32), affine), folder / name)
    return folder


def export(kit, volumes, *more):
    return ["export", volumes, kit.folder / "out", "--like", kit.folder / "scan", *ALGORITHM, *more]


def test_volumes_that_are_not_there(kit, refused):
    kit.mr_series(kit.folder / "scan")
    refused(export(kit, kit.folder / "absent"), "absent", "does not exist", "Give a NIfTI")


def test_series_that_is_not_there(kit, refused):
    refused(export(kit, on_grid(kit, kit.folder / "in", "a.nii.gz")), "scan", "does not exist", "Give the folder")


def test_a_volume_elsewhere_and_a_damaged_one(kit, partly_done):
    kit.mr_series(kit.folder / "scan")
    on_grid(kit, kit.folder / "in", "a.nii.gz", "b.nii.gz")
    on_grid(kit, kit.folder / "in", "c.nii.gz", shift=9.0)
    kit.cut(kit.folder / "in/b.nii.gz")
    words = export(kit, kit.folder / "in")
    partly_done(words, "b.nii.gz", "readable NIfTI", "c.nii.gz", "9.00 mm away", "--resample")
    assert len(list((kit.folder / "out/a").iterdir())) == 12
    assert sorted(path.name for path in (kit.folder / "out").iterdir()) == ["a", "exported.csv"]


def test_translation_of_files_needs_the_export(kit, refused):
    refused(kit.translate(kit.scans(), "--dicom"), "--dicom", "needs the DICOM series", "--like")


def test_translation_to_dicom_of_an_export_with_a_broken_series(kit, run_medtrans):
    kit.mr_series(kit.folder / "in/a", seed=1)
    kit.mr_series(kit.folder / "in/b", seed=2)
    kit.cut(kit.folder / "in/b/image004")
    code, said = run_medtrans(*kit.translate(kit.folder / "in", "--dicom"))
    assert code == 1
    assert "cannot be converted" in said
    (sidecar,) = kit.folder.glob("out/*_synthetic.json")
    (series,) = [path for path in (kit.folder / "out/dicom").iterdir() if path.is_dir()]
    assert series.name == sidecar.stem
    assert len(list(series.iterdir())) == 12
    assert json.loads(sidecar.read_text())["synthesis"]["algorithm"] == "MedGAN"
