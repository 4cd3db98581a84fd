"""Whole exports: tables, restarts, failures, keys; and the scanner files of several vendors."""

import csv
import itertools
import json
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medtrans import InputError
from medtrans.scans import convert_export
from medtrans.scans.deidentify import exports
from medtrans.scans.deidentify.exports import deidentify_export
from medtrans.scans.deidentify.profile import Choices

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dicom_dev"
RETAIN = Choices(frozenset({"patient"}))


def rows_of(folder):
    with (folder / "deidentified.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def images_of(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]


@pytest.fixture
def export(make_series):
    """Two patients, one with two studies, of three slices each; values in all of them identify somebody."""
    for number, (patient, study) in enumerate(
        [("Zqvortex-1", "1.2.99.4711.1"), ("Zqvortex-1", "1.2.99.4711.2"), ("Zqwander-2", "1.2.99.4711.3")]
    ):
        series = make_series(shape=(3, 8, 6), seed=number, PatientID=patient, PatientName=f"{patient[:8]}^Ulrika",
                             StudyInstanceUID=study, SeriesInstanceUID=f"{study}.7", InstitutionName="St. Elsewhere",
                             StudyDate=f"2020010{number + 1}", SeriesDescription=f"t1 {patient}")  # fmt: skip
        for k in range(3):
            series.write(k, f"{patient}/{study}/Zqvortex {k}", SOPInstanceUID=f"{study}.7.{k}")
    return series.folder


def test_every_image_has_its_copy_under_pseudonyms(export, tmp_path, holds):
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert [row["status"] for row in rows] == ["written"] * 9
    assert rows == rows_of(tmp_path / "out")
    assert {row["patient"] for row in rows} == {"patient-001", "patient-002"}
    for row in rows:
        copy = pydicom.dcmread(tmp_path / "out" / row["path"])
        assert copy.PatientID == copy.PatientName == row["patient"]
        assert row["path"].startswith(f"{row['patient']}/{row['study']}/007-MR/")
    for word in ("Zqvortex", "Zqwander", "Ulrika", "Elsewhere", "20200101", "1.2.99.4711.1", "1.2.99.4711.3.7"):
        assert not holds(tmp_path / "out", word), word


def test_pixels_series_and_frames_of_reference_stay_together(export, tmp_path):
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    before = [pydicom.dcmread(path) for path in export.rglob("Zq*") if path.is_file()]
    after = images_of(tmp_path / "out")
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert len({image[name].value for image in before}) == len({image[name].value for image in after})
    assert sorted(image.PixelData for image in before) == sorted(image.PixelData for image in after)


def test_a_second_run_keeps_what_is_there_and_adds_what_is_new(export, tmp_path):
    late = export / "Zqwander-2"
    shutil.move(late, tmp_path / "later")
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.dcm")}
    report = (tmp_path / "out" / "report.csv").read_text()
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert {row["status"] for row in rows} == {"kept"}
    assert (tmp_path / "out" / "report.csv").read_text() == report
    shutil.move(tmp_path / "later", late)
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert sorted(row["status"] for row in rows) == ["kept"] * 6 + ["written"] * 3
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_killed_run_keeps_what_it_did(export, tmp_path, monkeypatch):
    count = itertools.count()

    def die_at_the_fifth(*arguments):
        if next(count) == 4:
            raise KeyboardInterrupt
        return write_copy(*arguments)

    write_copy = exports.write_copy
    with monkeypatch.context() as patch:
        patch.setattr(exports, "SAVED_EVERY", 2)
        patch.setattr(exports, "write_copy", die_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert sorted(row["status"] for row in rows) == ["kept"] * 4 + ["written"] * 5


def test_a_copy_that_was_changed_or_choices_that_differ_are_made_again(export, tmp_path):
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    path = tmp_path / "out" / rows[0]["path"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    again = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert [row["status"] for row in again].count("written") == 1
    assert path.read_bytes() == whole
    other = deidentify_export(export, tmp_path / "out", tmp_path / "key.json", RETAIN)
    assert {row["status"] for row in other} == {"written"}


def test_the_same_key_gives_the_same_files_and_another_nothing_in_common(export, tmp_path):
    for out, key in (("a", "one"), ("b", "one"), ("c", "two")):
        deidentify_export(export, tmp_path / out, tmp_path / f"{key}.json")
    a, b, c = ({p.relative_to(tmp_path / out): p.read_bytes() for p in (tmp_path / out).rglob("*.*")} for out in "abc")
    assert {name: data for name, data in a.items() if name.suffix == ".dcm"} == {
        n: d for n, d in b.items() if n.suffix == ".dcm"
    }
    assert not {name.name for name in a if name.suffix == ".dcm"} & {name.name for name in c}
    uids = [{str(element.value) for image in images_of(tmp_path / out) for element in image
             if element.VR == "UI" and not str(element.value).startswith("1.2.840.10008")} for out in "ac"]  # fmt: skip
    assert not uids[0] & uids[1]
    marks = [{row[name] for row in rows_of(tmp_path / out) for name in ("source", "sha256")} for out in "ac"]
    assert not marks[0] & marks[1]


def test_the_key_and_who_was_who_are_nowhere_in_the_output(export, tmp_path, holds):
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    salt = json.loads((tmp_path / "key.json").read_text())["salt"]
    assert not holds(tmp_path / "out", salt)
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_file()} == {
        "deidentified.csv",
        "report.csv",
        "report.md",
    }
    for inside in (
        {"key": tmp_path / "out" / "k.json"},
        {"key": tmp_path / "key.json", "table": tmp_path / "out" / "t.csv"},
    ):
        with pytest.raises(InputError, match="would lie in the output"):
            deidentify_export(export, tmp_path / "out", **inside)


def test_who_became_whom_is_written_where_it_is_asked_for(export, tmp_path):
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json", table=tmp_path / "who.csv")
    with (tmp_path / "who.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert {(row["patient"], row["original_patient"]) for row in told} == {
        (owner, {"Zqvortex-1": owner, "Zqwander-2": owner}[name] and name)
        for owner, name in {(row["patient"], row["original_patient"]) for row in told}
    }
    assert {row["original_patient"] for row in told} == {"Zqvortex-1", "Zqwander-2"}
    assert {row["path"] for row in told} == {row["path"] for row in rows}
    for row in told:
        before, after = pydicom.dcmread(export / row["file"]), pydicom.dcmread(tmp_path / "out" / row["path"])
        assert before.PixelData == after.PixelData
        assert before.PatientID == row["original_patient"]
    assert stat.S_IMODE((tmp_path / "who.csv").stat().st_mode) == 0o600


def test_one_bad_file_is_a_row_and_the_others_are_written(export, tmp_path, run_medtrans, holds):
    broken = pydicom.dcmread(next(path for path in export.rglob("Zq*") if path.is_file()))
    del broken.SOPInstanceUID
    broken.save_as(export / "Zqvortex broken.dcm")
    (export / "notes.txt").write_text("Zqvortex")
    code, _ = run_medtrans("deidentify", export, tmp_path / "out", "--key", tmp_path / "key.json")
    rows = rows_of(tmp_path / "out")
    assert code == 1
    assert sorted(row["status"] for row in rows) == ["failed", "skipped", *["written"] * 9]
    assert all(row["reason"] for row in rows if row["status"] != "written")
    assert not holds(tmp_path / "out", "Zqvortex")


def test_two_images_under_one_uid_are_told_and_copies_are_left_out(export, tmp_path):
    one = next(path for path in export.rglob("Zq*") if path.is_file())
    shutil.copy(one, export / "copy")
    other = pydicom.dcmread(one)
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(export / "other")
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert sorted(row["status"] for row in rows if row["status"] != "written") in (
        ["failed", "skipped"],
        ["failed", "failed"],
    )
    assert len(images_of(tmp_path / "out")) == 9


def test_images_with_suspected_text_are_held_back_unless_asked_for(make_series, tmp_path):
    series = make_series(shape=(1, 8, 6), Modality="MR")
    series.write(0, "shot", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    series.write(0, "stated", BurnedInAnnotation="YES")
    rows = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json")
    assert {row["status"] for row in rows} == {"held back"}
    assert all(row["burned_in"] for row in rows)
    assert "secondary capture" in (tmp_path / "out" / "report.md").read_text()
    rows = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json", suspected="keep")
    assert {row["status"] for row in rows} == {"written"}
    assert all(row["burned_in"] for row in rows)


def test_a_copy_that_is_held_back_or_fails_now_is_withdrawn(export, tmp_path):
    """A laxer run before wrote it; what the table says is not handed on must not lie there."""
    shot = next(path for path in export.rglob("Zq*") if path.is_file())
    dataset = pydicom.dcmread(shot)
    dataset.BurnedInAnnotation = "YES"
    dataset.save_as(shot)
    before = deidentify_export(export, tmp_path / "out", tmp_path / "key.json", suspected="keep")
    assert [row["status"] for row in before] == ["written"] * 9
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert sorted(row["status"] for row in rows) == ["held back", *["kept"] * 8]
    assert {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.dcm")} == {
        row["path"] for row in rows if row["status"] == "kept"
    }
    other = next(path for path in export.rglob("Zq*") if path.is_file() and path != shot)
    dataset = pydicom.dcmread(other)
    dataset.add_new((0x6000, 0x0102), "US", 13)
    dataset.BitsAllocated = 12
    dataset.save_as(other)
    rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert sorted(row["status"] for row in rows) == ["failed", "held back", *["kept"] * 7]
    assert len(images_of(tmp_path / "out")) == 7
    assert {row["path"] for row in rows if row["status"] != "kept"} == {""}


def test_copies_are_not_deidentified_twice(export, tmp_path):
    """They would become another patient, under other UIDs and on other days."""
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    key = (tmp_path / "key.json").read_bytes()
    rows = deidentify_export(tmp_path / "out", tmp_path / "again", tmp_path / "key.json")
    images = [row for row in rows if row["status"] == "failed"]
    assert len(images) == 9
    assert all("is a de-identified copy already" in row["reason"] for row in images)
    assert not images_of(tmp_path / "again")
    assert (tmp_path / "key.json").read_bytes() == key  # and no pseudonym is spent on them
    for status in ("written", "kept"):  # to the owner of another key they are a data set as any other
        rows = deidentify_export(tmp_path / "out", tmp_path / "other", tmp_path / "other.json")
        assert [row["status"] for row in rows].count(status) == 9


def test_the_copy_of_a_twin_is_not_withdrawn(make_series, tmp_path):
    series = make_series(shape=(1, 8, 6))
    series.write(0, "a", SOPInstanceUID="1.2.3.4")
    series.write(0, "b", SOPInstanceUID="1.2.3.4", pixels=series.pixels[0] + 1)
    for _ in range(2):
        rows = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json")
        assert "failed" in {row["status"] for row in rows}
        assert len(images_of(tmp_path / "out")) == 1


def test_copies_whose_sources_are_gone_are_told(export, tmp_path, caplog):
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert "earlier runs" not in caplog.text
    shutil.rmtree(export / "Zqwander-2")
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json", RETAIN)
    assert "3 copies are of earlier runs and not in deidentified.csv" in caplog.text


def test_who_became_whom_does_not_overwrite_the_key(export, tmp_path):
    deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    before = (tmp_path / "key.json").read_bytes()
    (tmp_path / "link.json").symlink_to(tmp_path / "key.json")
    for table in (tmp_path / "key.json", tmp_path / "link.json", tmp_path / "out" / ".." / "key.json"):
        with pytest.raises(InputError, match="is the key's file"):
            deidentify_export(export, tmp_path / "out", tmp_path / "key.json", table=table)
    assert (tmp_path / "key.json").read_bytes() == before


def test_errors_of_readers_are_logged_without_what_they_quote(export, tmp_path, monkeypatch, caplog):
    def quoting(*arguments):
        raise RuntimeError("cannot read 'Zqvortex'")

    monkeypatch.setattr(exports, "write_copy", quoting)
    with caplog.at_level("DEBUG"):
        rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json")
    assert {row["status"] for row in rows} == {"failed"}
    assert "RuntimeError" in caplog.text
    assert "Zqvortex" not in caplog.text


def test_text_in_the_place_of_a_modality_names_no_folder(make_series, tmp_path):
    series = make_series(shape=(1, 8, 6))
    series.write(0, Modality="ZQVORTEX")
    (row,) = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json")
    assert (row["series"], row["modality"]) == ("007", "")


def test_faces_are_marked_in_every_image_of_the_series(make_series, tmp_path):
    series = make_series(shape=(3, 8, 6), BodyPartExamined="HEAD").write_all()
    rows = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json")
    assert {image.RecognizableVisualFeatures for image in images_of(tmp_path / "out")} == {"YES"}
    assert all(row["face"] for row in rows)


def test_what_is_lost_for_suv_is_said(make_series, tmp_path):
    series = make_series(shape=(1, 8, 6), Modality="PT", Units="BQML").write_all()
    for choices, said in (
        (Choices(), "--retain patient"),
        (Choices(RETAIN.retain, "remove"), "--dates shift"),
        (RETAIN, ""),
    ):
        (row,) = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json", choices)
        assert said in row["reason"]
        assert bool(row["reason"]) == bool(said)


@pytest.mark.skipif(not SHARED.exists(), reason="the developers' scanner files are not here")
class TestScannerFiles:
    """Several vendors, classic, enhanced and mosaic, implicit and compressed; a dozen files of each."""

    @pytest.fixture
    def files_of(self, tmp_path):
        def some(case):
            every = sorted(path for path in (SHARED / case).rglob("*") if path.is_file())
            for path in every if case[:2] in ("09", "15") else every[:: max(1, len(every) // 12)]:
                target = tmp_path / "in" / path.relative_to(SHARED / case)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
            return tmp_path / "in"

        return some

    IDENTIFYING = ("PatientName", "PatientID", "PatientBirthDate", "InstitutionName",
                   "InstitutionAddress", "StationName",
                   "DeviceSerialNumber", "AccessionNumber", "ReferringPhysicianName", "PerformingPhysicianName",
                   "OperatorsName", "RequestingPhysician", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
                   "FrameOfReferenceUID", "StudyDate", "AcquisitionDate")  # fmt: skip
    CASES = sorted(path.name for path in SHARED.iterdir()) if SHARED.exists() else []

    @pytest.mark.parametrize("case", CASES)
    def test_nothing_that_identifies_is_left_and_pixels_are_the_same(self, case, files_of, tmp_path, holds):
        export, who = files_of(case), tmp_path / "who.csv"
        rows = deidentify_export(export, tmp_path / "out", tmp_path / "key.json", table=who, suspected="keep")
        assert case[:2] in ("09", "15") or {row["status"] for row in rows} <= {"written", "skipped"}
        with who.open(newline="", errors="surrogateescape") as file:
            told = [row for row in csv.DictReader(file) if row["path"]]
        secrets, read, makers = set(), 0, ""
        for row in told[:: max(1, len(told) // 12)]:
            before, after = (
                pydicom.dcmread(export / row["file"], force=True),
                pydicom.dcmread(tmp_path / "out" / row["path"]),
            )
            secrets |= {str(before[name].value).strip("^ ") for name in self.IDENTIFYING if before.get(name)}
            makers += str(before.get("Manufacturer")).casefold()  # some scans were made there
            assert not [tag for tag in _all_tags(after) if tag.is_private]
            assert after.PatientIdentityRemoved == "YES"
            if "PixelData" in before:
                assert _pixels(before) == _pixels(after)
                read += 1
        common = {"siemens", "philips", "ge", "hospital", "phantom", "head", "unknown", "removed", "operator"}
        for secret in secrets:
            if (
                len(secret) >= 5
                and len({*secret}) > 2
                and secret.casefold() not in common
                and secret.casefold() not in makers
            ):
                assert not holds(tmp_path / "out", secret), secret
        assert read

    @pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools are not here")
    @pytest.mark.parametrize("dates", ["shift", "remove"])
    @pytest.mark.parametrize("case", [case for case in CASES if case[:2] not in ("09", "15")])
    def test_copies_have_no_new_faults(self, case, dates, files_of, tmp_path):
        export, who = files_of(case), tmp_path / "who.csv"
        deidentify_export(export, tmp_path / "out", tmp_path / "key.json", Choices(dates=dates), table=who)
        with who.open(newline="", errors="surrogateescape") as file:
            row = next(row for row in csv.DictReader(file) if row["path"])
        before, after = (_faults(path) for path in (export / row["file"], tmp_path / "out" / row["path"]))
        assert after - before == set()

    def test_suv_and_hounsfield_units_are_those_of_the_original(self, tmp_path):
        import nibabel as nib

        for case in ("13_pet_real_single_slices", "14_synthetic_petct"):
            deidentify_export(SHARED / case, tmp_path / case / "dicom", tmp_path / "key.json", RETAIN)
            outs = [tmp_path / case / name for name in ("before", "after")]
            tables = [
                convert_export(source, out, workers=1)
                for source, out in zip((SHARED / case, tmp_path / case / "dicom"), outs, strict=True)
            ]
            volumes = [
                sorted(
                    (row.unit, nib.load(out / row.path).get_fdata().tobytes())
                    for row in table[table.status == "converted"].itertuples()
                )
                for out, table in zip(outs, tables, strict=True)
            ]
            assert volumes[0] == volumes[1]
            assert "SUV" in [unit for unit, _ in volumes[0]]


def _all_tags(dataset):
    for element in dataset:
        yield element.tag
        if element.VR == "SQ":
            for item in element.value:
                yield from _all_tags(item)


def _pixels(dataset):
    """Decoded values, or the bytes of images that were cut short."""
    try:
        return np.ascontiguousarray(dataset.pixel_array).tobytes()
    except (ValueError, AttributeError):
        return dataset.PixelData


def _faults(path):
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace").stderr
    return {line.split(" - ")[0] for line in told.splitlines() if line.startswith("Error")}
