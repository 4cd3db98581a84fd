"""Bad input to ``medtrans convert``."""

import csv
from pathlib import Path

import pytest


def test_folder_that_is_not_there(kit, refused):
    refused(["convert", kit.folder / "absent", kit.folder / "out"], "absent", "does not exist", "Give the folder")


def test_empty_folder(kit, refused):
    (kit.folder / "empty").mkdir()
    refused(["convert", kit.folder / "empty", kit.folder / "out"], "empty", "holds no files", "Give the folder")


def test_no_scan_in_the_folder(kit, refused):
    (kit.folder / "junk").mkdir()
    (kit.folder / "junk/letter.txt").write_text("hello")
    refused(
        ["convert", kit.folder / "junk", kit.folder / "out"], "junk", "PAR/REC among 1 file(s)", "Give the scanner's"
    )


def test_truncated_dicom(kit, partly_done):
    kit.mr_series(kit.folder / "in/a", seed=1)
    kit.mr_series(kit.folder / "in/b", seed=2)
    kit.cut(kit.folder / "in/b/image004")
    partly_done(["convert", kit.folder / "in", kit.folder / "out"], "image 5", "Export this image again", good=1)


def test_truncated_nan_and_colour_nifti(kit, partly_done):
    scans = kit.scans(cases=(0, 1, 2, 3))
    kit.cut(scans / "s1.nii.gz")
    kit.spoil(scans / "s2.nii.gz", kit.with_nan)
    kit.as_colours(scans / "s3.nii.gz")
    partly_done(["convert", scans, kit.folder / "out"], "NaN", "damaged", "colours", "Replace", "Copy", good=1)


def test_output_is_a_file(kit, refused):
    (kit.folder / "out").write_text("a file")
    refused(["convert", kit.scans(), kit.folder / "out"], "out", "cannot be written", "Choose a folder")


def test_output_where_no_file_can_be(kit, refused):
    if not Path("/proc/self").exists():
        pytest.skip("no such file system")
    kit.mr_series(kit.folder / "in")
    refused(["convert", kit.folder / "in", "/proc/medtrans"], "/proc/medtrans", "cannot be written", "Choose a folder")


def test_output_is_the_export(kit, refused):
    refused(["convert", kit.scans(into="out"), kit.folder / "out"], "is the export itself", "Choose another folder")


def test_unknown_layout(kit, refused):
    kit.mr_series(kit.folder / "in")
    refused(["convert", kit.folder / "in", kit.folder / "out", "--layout", "BIDS"], "--layout", "'BIDS'", "plain, bids")


def test_unknown_unit(kit, refused):
    refused(
        ["convert", kit.scans(), kit.folder / "out", "--pet-unit", "kelvin"],
        "--pet-unit",
        "kelvin",
        "suv, suvlbm, suvbsa, bqml",
    )


def test_misspelt_option(kit, refused):
    refused(["convert", kit.scans(), kit.folder / "out", "--worker", "2"], "--worker")


def test_what_a_killed_conversion_left_is_removed_and_never_taken_for_a_scan(kit, run_medtrans):
    kit.mr_series(kit.folder / "in")
    out, left = kit.folder / "out", "patient-001/study-01/.partial-0badc0de-003-MR.nii.gz"
    assert run_medtrans("convert", kit.folder / "in", out)[0] == 0
    (out / left).write_bytes(b"half")
    assert run_medtrans("convert", kit.folder / "in", out)[0] == 0
    assert not (out / left).exists()
    scans = kit.scans(("T1", "T2"), (0, 1), nested=True)
    (scans / "s1/.partial-0badc0de-T1.nii.gz").write_bytes(b"half")
    loose = ["modalities#T1#file={subject}/*T1.nii.gz", "modalities#T1#choose=only"]
    words = [word for setting in loose for word in ("--set", setting)]
    code, _ = run_medtrans(*kit.prepare(scans, *words, out="prepared"))
    assert code == 0
    with (kit.folder / "prepared/prepare.csv").open() as file:
        assert [line["status"] for line in csv.DictReader(file)] == ["ok", "ok"]
