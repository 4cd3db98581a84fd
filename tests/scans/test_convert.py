import json
import re
import shutil
import subprocess
import sys
import time
import zipfile

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from medtrans import InputError
from medtrans.cli import app
from medtrans.scans import convert_export, read_series
from medtrans.scans.convert import COLUMNS

SECRETS = ("Doe", "Jane", "4711", "19800229", "20200102", "Hospital")


@pytest.fixture
def export(make_series):
    """Two patients, three studies, and what else lies in an export; 29 files."""
    common = {"PatientBirthDate": "19800229", "StudyDate": "20200102", "InstitutionName": "Hospital"}
    first = make_series(shape=(4, 6, 8), seed=1, **common)
    for k in range(4):
        first.write(k, f"Doe Jane/Série – 1/{k}.dcm")
    second = make_series(shape=(5, 6, 8), seed=2, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", **common)
    for k in range(5):
        second.write(k, f"Doe Jane/2/IM{k}")
    other = make_series(shape=(6, 6, 8), seed=3, PatientID="Smith-1", PatientName="Smith", Modality="CT",
                        RescaleSlope="1", RescaleIntercept="-1024")  # fmt: skip
    for k in range(6):
        other.write(k, f"9/{k}")
    gap = make_series(shape=(5, 6, 8), seed=4, SeriesInstanceUID="1.2.3.5", SeriesNumber=9)
    for k in (0, 1, 2, 4):
        gap.write(k, f"gap{k}")
    report = first.dataset(0, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22", Modality="SR", SeriesInstanceUID="1.2.3.6",
                           Rows=None, Columns=None)  # fmt: skip
    del report.PixelData
    report.save_as(first.folder / "report", enforce_file_format=True)
    folder = first.folder
    nib.save(nib.Nifti1Image(np.eye(4, dtype=np.float32)[..., None], np.eye(4)), folder / "sub-01_T1w.nii.gz")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / "readme.txt").write_text("made by the PACS")
    (folder / "empty.dcm").touch()
    (folder / "only-magic.dcm").write_bytes(bytes(128) + b"DICM")
    (folder / "noise.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "preview.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("a", "b")
    (folder / "gap4").rename(folder / "moved")
    return folder


def rows(table, status):
    return table[table.status == status]


def test_every_file_is_accounted_for_and_every_volume_written(export, tmp_path):
    out = tmp_path / "out"
    table = convert_export(export, out)
    assert tuple(table.columns) == COLUMNS
    assert table.files.sum() == sum(path.is_file() for path in export.rglob("*"))
    assert len(rows(table, "converted")) == 4
    assert {row.path for row in rows(table, "converted").itertuples()} == {
        path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz")
    }
    [failed] = rows(table, "failed").itertuples()
    assert "4 slices are not evenly spaced" in failed.reason
    reasons = dict(zip(rows(table, "skipped").reason, rows(table, "skipped").files, strict=True))
    assert reasons == {
        "Enhanced SR Storage: no pixel data": 1,
        "DICOM file without a data set": 1,
        "empty file": 1,
        "no image file": 5,
    }
    written = pd.read_csv(out / "series.csv", keep_default_na=False, dtype=str)
    assert written.path.tolist() == table.path.tolist()


def test_written_nifti_is_ras_in_mm_with_equal_forms_and_exact_integers(export, tmp_path):
    table = convert_export(export, tmp_path / "out")
    for row in rows(table, "converted").itertuples():
        image = nib.load(tmp_path / "out" / row.path)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.header["qform_code"] == image.header["sform_code"] == 1
        np.testing.assert_allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-4)
        assert image.header.get_xyzt_units() == ("mm", "sec")
        assert image.get_data_dtype() == np.int16
        assert "x".join(map(str, image.shape)) == row.shape
        sidecar = json.loads((tmp_path / "out" / row.path.replace(".nii.gz", ".json")).read_text())
        assert sidecar["unit"] == row.unit
        assert sidecar["frame_of_reference"] == row.frame
        assert sidecar["files"] == row.files


def test_one_slope_for_all_slices_is_int16_and_one_a_slice_float32(make_series, tmp_path, reference_image):
    series = make_series(Modality="PT", Units="CNTS", RescaleIntercept="0")
    slopes = ["0.5"] * 5, ["0.5", "0.25", "0.75", "0.5", "0.5"]
    for n, own in enumerate(slopes):
        for k, slope in enumerate(own):
            series.write(k, f"{n}-{k}", RescaleSlope=slope, SeriesInstanceUID=f"1.2.{n}", SeriesNumber=n)
    one, many = (nib.load(tmp_path / "out" / path) for path in convert_export(series.folder, tmp_path / "out").path)
    assert (one.get_data_dtype(), one.dataobj.slope) == (np.int16, 0.5)
    assert many.get_data_dtype() == np.float32
    for image, own in ((one, slopes[0]), (many, slopes[1])):
        values = series.pixels * np.array(own, float)[:, None, None]
        np.testing.assert_array_equal(image.get_fdata(), reference_image(series, values).get_fdata())


def test_no_patient_data_in_names_table_and_sidecars(export, tmp_path, caplog):
    out = tmp_path / "out"
    with caplog.at_level("DEBUG"):
        convert_export(export, out)
    text = caplog.text + (out / "series.csv").read_text()
    for path in out.rglob("*"):
        text += path.relative_to(out).as_posix()
        text += path.read_text() if path.suffix == ".json" else ""
    for path in out.rglob("*.nii.gz"):
        text += bytes(nib.load(path).header.binaryblock).decode("latin-1")
    text = re.sub(r"\b(?=\w*[a-f])[0-9a-f]{16,64}\b", "", text)  # hashes hold any four digits now and then
    assert not [secret for secret in SECRETS if secret in text]
    assert "sub-01" not in text


def test_pseudonyms_stay_when_more_is_converted_into_the_same_folder(export, tmp_path, make_series):
    out = tmp_path / "out"
    before = convert_export(export, out)
    values = {row.path: nib.load(out / row.path).get_fdata() for row in rows(before, "converted").itertuples()}
    for n in range(8):  # some of them hash before those known
        new = make_series(shape=(3, 4, 4), PatientID=f"new-{n}", SeriesNumber=1)
        for k in range(3):
            new.write(k, f"new/{n}/{k}")
    after = convert_export(export, out)
    assert len(rows(after, "converted")) == len(values) + 8
    for path, array in values.items():
        np.testing.assert_array_equal(nib.load(out / path).get_fdata(), array)
    assert set(values) <= set(after.path)


def test_pseudonyms_are_the_same_in_another_output_folder(export, tmp_path):
    one, two = (convert_export(export, tmp_path / name) for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two)


def test_keep_identifiers_uses_the_real_ones(export, tmp_path):
    table = convert_export(export, tmp_path / "out", keep_identifiers=True)
    assert {"Doe-4711", "Smith-1"} <= set(table.patient)
    assert "1.2.3" in set(table.study)


def test_ids_that_look_alike_as_folders_stay_apart(make_series, tmp_path):
    for n, patient in enumerate(["A/1", "A:1", "../A"]):
        series = make_series(shape=(3, 4, 4), seed=n, PatientID=patient)
        for k in range(3):
            series.write(k, f"{n}-{k}")
    table = convert_export(series.folder, tmp_path / "deep" / "out", keep_identifiers=True)
    assert table.patient.nunique() == 3
    assert all((tmp_path / "deep" / "out" / path).is_file() for path in table.path)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["out"]


def test_second_run_keeps_what_is_there_and_redoes_what_changed(export, tmp_path):
    out = tmp_path / "out"
    first = convert_export(export, out)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    target = out / rows(first, "converted").path.iloc[0]
    target.unlink()
    second = convert_export(export, out)
    redone = [path for path in out.rglob("*.nii.gz") if path.stat().st_mtime_ns != written[path]]
    assert redone == [target]
    assert rows(second, "converted").reason.str.contains("kept from an earlier run").sum() == 3
    assert second.drop(columns="reason").equals(first.drop(columns="reason"))


def test_a_slice_that_arrives_later_is_added(make_series, tmp_path):
    series = make_series()
    for k in range(4):
        series.write(k)
    assert convert_export(series.folder, tmp_path / "out")["shape"].tolist() == ["6x8x4"]
    series.write(4)
    table = convert_export(series.folder, tmp_path / "out")
    assert table["shape"].tolist() == ["6x8x5"]
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 1


def test_output_inside_the_export_is_not_read_again(export):
    first = convert_export(export, export / "out")
    second = convert_export(export, export / "out")
    assert first.files.sum() == second.files.sum()


def test_output_cannot_be_the_export(export):
    with pytest.raises(InputError, match="is the export itself"):
        convert_export(export, export)


def test_one_file_is_an_export_too(make_series, tmp_path):
    series = make_series(shape=(1, 4, 6))
    assert list(convert_export(series.write(0), tmp_path / "out").status) == ["converted"]


def test_same_series_number_twice_in_a_study_gets_two_names(make_series, tmp_path):
    for n in range(2):
        series = make_series(seed=n, SeriesInstanceUID=f"1.2.{n}", StudyInstanceUID="1.5")
        for k in range(5):
            series.write(k, f"{n}-{k}")
    table = convert_export(series.folder, tmp_path / "out")
    assert sorted(table.series) == ["007-MR", "007-MR-2"]


@pytest.mark.parametrize("kind", ["missing", "empty", "no scans"])
def test_nothing_to_convert_is_an_error(tmp_path, kind):
    folder = tmp_path / "in"
    if kind != "missing":
        folder.mkdir()
    if kind == "no scans":
        (folder / "notes.txt").write_text("none")
    with pytest.raises(InputError, match=r"does not exist|holds no"):
        convert_export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_pseudonyms_are_refused(export, tmp_path):
    out = tmp_path / "out"
    convert_export(export, out)
    (out / ".pseudonyms.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        convert_export(export, out)


def test_read_series_takes_a_list_of_files(make_series, reference_image):
    series = make_series()
    paths = [series.write(k) for k in (4, 2, 3)]
    [volume] = read_series(paths)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata()[..., 2:])
    planes = [frame.tags["InstanceNumber"] for frame in volume.frames[0]]
    assert planes == [3, 4, 5]
    corner = volume.stack_affine @ [0, 0, 1, 1]
    np.testing.assert_allclose(corner[:3], [0, 0, 6])


def test_command_reports_and_exits_with_1_on_failure(export, tmp_path):
    result = CliRunner().invoke(app, ["convert", str(export), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "4 converted" in result.output
    assert "failed:" in result.output
    (export / "moved").unlink()
    result = CliRunner().invoke(app, ["convert", str(export), str(tmp_path / "two"), "--pet-unit", "bqml"])
    assert result.exit_code == 0
    assert "5 converted" in result.output


def test_command_exits_with_2_when_there_is_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "medtrans.cli", "convert", tmp_path, tmp_path / "out"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "holds no files" in done.stderr


def test_damaged_headers_never_stop_an_export(make_series, tmp_path):
    rng = np.random.default_rng(0)
    series = make_series(shape=(3, 4, 4)).write_all()
    whole = (series.folder / "slice1").read_bytes()
    for n in range(40):
        cut = whole[: rng.integers(130, len(whole))] if n % 2 else bytearray(whole)
        if not n % 2:
            for place in rng.integers(132, len(whole) - 40, 12):
                cut[place] = rng.integers(256)
        (series.folder / f"damaged{n}").write_bytes(cut)
    shutil.move(series.folder / "slice1", series.folder / "ZZ")
    table = convert_export(series.folder, tmp_path / "out")
    assert table.files.sum() == 43


def test_an_unknown_layout_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="plain, bids"):
        convert_export(tmp_path / "not there", tmp_path / "out", layout="bid")


def test_volumes_of_another_export_in_the_same_folder_stay_and_are_told(make_series, tmp_path, caplog):
    for n in range(2):
        series = make_series(seed=n, PatientID=f"p{n}", SeriesInstanceUID=f"1.2.{n}")
        for k in range(5):
            series.write(k, f"{n}/{k}")
    first = convert_export(series.folder / "0", tmp_path / "out")
    assert "earlier runs" not in caplog.text
    second = convert_export(series.folder / "1", tmp_path / "out")
    assert "1 volumes are of earlier runs and not in series.csv" in caplog.text
    assert all((tmp_path / "out" / path).is_file() for path in [*first.path, *second.path])
    assert {*first.path}.isdisjoint(second.path)


def test_an_interrupted_run_begins_no_further_series(make_series, tmp_path, monkeypatch):
    for n in range(30):
        series = make_series(shape=(3, 4, 4), seed=n, SeriesInstanceUID=f"1.2.{n}")
        for k in range(3):
            series.write(k, f"{n}/{k}")
    begun = []

    def interrupted(job, run):
        begun.append(job)
        time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr("medtrans.scans.convert._convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_export(series.folder, tmp_path / "out", workers=2)
    assert len(begun) < 10


def test_a_volume_whose_series_has_a_damaged_image_says_so(make_series, tmp_path):
    series = make_series()
    for k in range(4):
        series.write(k)
    last = series.write(4, RescaleSlope="7.25")
    last.write_bytes(last.read_bytes().replace(b"7.25", b"7x25"))
    table = convert_export(series.folder, tmp_path / "out")
    assert sorted(table.status) == ["converted", "failed"]
    told = table.reason[table.status == "converted"].item()
    assert "damaged images of this series left out: 1" in told
    assert "RescaleSlope" in table.reason[table.status == "failed"].item()
