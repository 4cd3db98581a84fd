import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from medtrans.cli import app
from medtrans.scans import convert_export
from medtrans.scans.output.table import SHOWN, shown

FORESEEN = {"to convert": "converted", "would fail": "failed", "skipped": "skipped"}


@pytest.fixture
def export(make_series):
    """A volume in DICOM (oblique, 4D), a gap, a localizer, and image files of three formats, one of them damaged."""
    series = make_series(shape=(4, 6, 8), orientation=(0, 1, 0, 0, 0, -1), spacing=(0.5, 0.75))
    for t in range(2):
        for k in range(4):
            pixels = series.pixels[k] + t
            series.write(k, f"4d/{t}-{k}", pixels=pixels, TemporalPositionIdentifier=t + 1, InstanceNumber=4 * t + k)
    gap = make_series(shape=(6, 6, 8), SeriesInstanceUID="1.2.3.5", SeriesNumber=9, PatientID="Smith")
    for k in (0, 1, 2, 3, 5):
        gap.write(k, f"gap{k}")
    gap.write(0, "scout", SeriesInstanceUID="1.2.3.6", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    folder = series.folder
    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(data, np.diag([2, 3, 4, 1])), folder / "a_T1w.nii.gz")
    nib.save(nib.Nifti1Image(data, None), folder / "b.nii")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(data), str(folder / "c.mha"))
    (folder / "notes.txt").write_text("none")
    return folder


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def test_it_says_what_the_run_then_does(export, tmp_path):
    foreseen = convert_export(export, tmp_path / "out", dry_run=True)
    done = convert_export(export, tmp_path / "out")
    assert foreseen.status.map(FORESEEN).tolist() == done.status.tolist()
    assert {*foreseen.status} == {*FORESEEN}
    columns = ["patient", "study", "series", "modality", "description", "files", "slices", "shape", "spacing", "path"]
    assert foreseen[columns].to_numpy().tolist() == done[columns].to_numpy().tolist()
    wanted = foreseen.status != "to convert"
    assert foreseen[wanted].reason.tolist() == done[wanted].reason.tolist()


def test_it_writes_nothing_and_decodes_nothing(export, tmp_path, monkeypatch):
    before = files(tmp_path)
    monkeypatch.setattr("medtrans.scans.intensity.pixels.decoded", lambda file: pytest.fail("pixels were decoded"))
    convert_export(export, tmp_path / "out", dry_run=True)
    shutil.make_archive(str(tmp_path / "packed"), "zip", export)
    convert_export(tmp_path / "packed.zip", tmp_path / "out", dry_run=True)
    (tmp_path / "packed.zip").unlink()
    assert files(tmp_path) == before


def test_it_changes_nothing_in_an_earlier_output_and_tells_what_is_kept(export, tmp_path):
    out = tmp_path / "out"
    convert_export(export, out)
    path = next(out.rglob("*T1w*"), None) or next(out.rglob("*.nii.gz"))
    path.unlink()
    (path.parent / ".partial-0-x.nii.gz").touch()
    before = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    table = convert_export(export, out, dry_run=True)
    assert before == {name: (out / name).stat().st_mtime_ns for name in files(out)}
    assert sorted(table.status) == ["kept", "kept", "skipped", "skipped", "to convert", "would fail", "would fail"]


def test_the_command_shows_the_table_and_exits_as_the_run_would(export, tmp_path):
    result = CliRunner().invoke(app, ["convert", str(export), str(tmp_path / "out"), "--dry-run"])
    assert result.exit_code == 1
    assert "18 files: 3 to convert, 0 kept, 2 skipped, 2 would fail; nothing was written" in result.output
    assert result.output.splitlines()[0].split() == list(SHOWN)
    for path in (*export.glob("gap*"), export / "b.nii"):
        path.unlink()
    result = CliRunner().invoke(app, ["convert", str(export), str(tmp_path / "out"), "--dry-run"])
    assert result.exit_code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_table_fits_the_terminal_and_loses_no_word(width):
    reason = "5 slices are not evenly spaced: mostly 2.000 mm apart, but 4.000 after slice 4. Export the missing slices"
    rows = [
        {"patient": "p", "study": "s", "series": "9-MR", "files": 5, "status": "would fail", "reason": reason},
        {"patient": "p", "study": "s", "series": "1-MR", "files": 12, "status": "to convert", "reason": ""},
    ]
    lines = shown([dict.fromkeys(("shape", "spacing", "slices"), "") | row for row in rows], width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines[1:]).split())
    assert all(word in text for word in reason.split())


@pytest.mark.parametrize("lost", [1, 10, 50])
def test_pixels_that_are_cut_short_are_foreseen_without_reading_them(lost, make_series, tmp_path):
    series = make_series().write_all()
    path = series.folder / "slice3"
    path.write_bytes(path.read_bytes()[:-lost])
    assert_told_both_times(series.folder, tmp_path, f"pixel data are cut short ({96 - lost} of 96 bytes)")


def test_fewer_pixels_than_rows_and_columns_ask_for_are_foreseen(make_series, tmp_path):
    series = make_series().write_all()
    dataset = series.dataset(3)
    dataset.PixelData = dataset.PixelData[:-20]
    dataset.save_as(series.folder / "slice3", enforce_file_format=True)
    assert_told_both_times(series.folder, tmp_path, "pixel data are cut short (76 of 96 bytes)")


def test_a_lost_byte_behind_the_last_pixel_loses_nothing(make_series, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5, 5)).astype(np.uint8)
    series = make_series(pixels, BitsAllocated=8, BitsStored=8, HighBit=7).write_all()
    path = series.folder / "slice3"
    path.write_bytes(path.read_bytes()[:-1])  # an even number of bytes has to be written
    assert list(convert_export(series.folder, tmp_path / "out", dry_run=True).status) == ["to convert"]
    assert list(convert_export(series.folder, tmp_path / "out").status) == ["converted"]


def assert_told_both_times(folder, tmp_path, what):
    for dry, status in ((True, "would fail"), (False, "failed")):
        table = convert_export(folder, tmp_path / "out", dry_run=dry)
        assert list(table.status) == [status]
        assert what in table.reason[0]
        assert len(table.reason[0]) < 120
