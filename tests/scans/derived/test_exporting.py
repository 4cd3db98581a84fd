"""``medtrans export``: many volumes, their sidecars, the table, and the exit codes."""

import csv
import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from medtrans.cli import app
from medtrans.errors import CasesFailedError, InputError
from medtrans.scans import convert_export
from medtrans.scans.derived.exporting import Told, export_series
from medtrans.scans.derived.series import Writing

COPY = Told(algorithm="Copy")


@pytest.fixture
def converted(make_series, tmp_path):
    """Three patients with equal grids; their export, and the volumes with sidecars as `medtrans convert` wrote them."""
    for number in range(3):
        series = make_series(seed=number, PatientID=f"Doe-{number}", StudyDate="20240102")
        series.folder, series.series = series.folder / str(number), f"1.2.3.{number}"
        series.write_all()
    table = convert_export(tmp_path / "export", tmp_path / "converted", workers=1)
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number, row in enumerate(table.itertuples()):
        for suffix in (".nii.gz", ".json"):
            path = tmp_path / "converted" / row.path.replace(".nii.gz", suffix)
            (folder / f"case{number}{suffix}").write_bytes(path.read_bytes())
    return tmp_path / "export", folder


def rows_of(folder):
    with (folder / "exported.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_of_many_is_laid_over_its_own_patient(converted, tmp_path):
    export, volumes = converted
    rows = export_series(volumes, tmp_path / "out", export, COPY)
    assert [row["status"] for row in rows] == ["ok"] * 3
    patients = set()
    for row in rows:
        values = nib.as_closest_canonical(nib.load(volumes / f"{row['case']}.nii.gz")).get_fdata()
        for path in (tmp_path / "out" / row["folder"]).iterdir():
            image = pydicom.dcmread(path)
            original = next(
                found
                for found in map(pydicom.dcmread, export.rglob("slice*"))
                if found.SOPInstanceUID == image.SourceImageSequence[0].ReferencedSOPInstanceUID
            )
            assert image.PatientID == original.PatientID
            np.testing.assert_array_equal(image.pixel_array, original.pixel_array)
            patients.add(image.PatientID)
        assert values.size == 5 * 8 * 6
    assert patients == {"Doe-0", "Doe-1", "Doe-2"}


def test_one_failure_is_a_row_and_the_others_are_done(converted, tmp_path):
    export, volumes = converted
    (volumes / "case1.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(CasesFailedError, match=r"1 of 3 volumes failed, the first: case1.nii.gz: is not a readable"):
        export_series(volumes, tmp_path / "out", export, COPY)
    assert [row["status"] for row in rows_of(tmp_path / "out")] == ["ok", "failed", "ok"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case0", "case2", "exported.csv"]


def test_run_again_it_keeps_what_is_done_and_mends_what_failed(converted, tmp_path):
    export, volumes = converted
    whole = (volumes / "case1.nii.gz").read_bytes()
    (volumes / "case1.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(CasesFailedError):
        export_series(volumes, tmp_path / "out", export, COPY)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    (volumes / "case1.nii.gz").write_bytes(whole)
    rows = export_series(volumes, tmp_path / "out", export, COPY)
    assert [row["status"] for row in rows] == ["kept", "ok", "kept"]
    assert before.items() <= {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}.items()


def test_a_series_of_other_voxels_is_not_written_over(converted, tmp_path):
    export, volumes = converted
    export_series(volumes, tmp_path / "out", export, COPY)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    image = nib.load(volumes / "case0.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata() + 1, image.affine), volumes / "case0.nii.gz")
    for _ in range(2):  # nor the second time
        with pytest.raises(CasesFailedError, match=r"1 of 3 volumes failed.*case0: exists already"):
            export_series(volumes, tmp_path / "out", export, COPY)
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}


def test_the_sidecar_says_what_it_is_and_what_made_it_and_the_user_may_say_otherwise(converted, tmp_path):
    export, volumes = converted
    sidecar = json.loads((volumes / "case0.json").read_text())
    made = {
        "algorithm": "MedGAN",
        "version": "2",
        "model_sha256": "12ab",
        "target": "FLAIR",
        "images": sidecar["images"],
    }
    (volumes / "case0.json").write_text(json.dumps({"Modality": "MR", "synthesis": made}))
    export_series(volumes / "case0.nii.gz", tmp_path / "one", export)
    image = pydicom.dcmread(tmp_path / "one/case0/0001.dcm")
    assert image.SeriesDescription == "SYNTHETIC FLAIR, NOT FOR DIAGNOSIS (MedGAN)"
    assert image.ContributingEquipmentSequence[1].ContributionDescription == "MedGAN 2 (model sha256 12ab)"
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"abc")
    told = Told("CT", "HU", "Other", "3", weights)
    export_series(volumes / "case0.nii.gz", tmp_path / "other", export, told, Writing(series_number=77))
    image = pydicom.dcmread(tmp_path / "other/case0/0001.dcm")
    assert (image.Modality, image.SeriesNumber) == ("CT", 77)
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of abc, FIPS 180
    assert image.ContributingEquipmentSequence[1].ContributionDescription == f"Other 3 (model sha256 {known})"


@pytest.mark.parametrize(
    ("fields", "told", "message"),
    [
        ({}, COPY, "does not say what modality"),
        ({"Modality": "MR"}, Told(), "does not say what made it"),
        ({"Modality": "PT"}, COPY, "PET in an unknown unit"),
        ({"Modality": "US"}, COPY, "does not say what modality"),
    ],
)
def test_what_nothing_says_is_asked_for(fields, told, message, converted, tmp_path):
    export, volumes = converted
    images = json.loads((volumes / "case0.json").read_text())["images"]
    (volumes / "case0.json").write_text(json.dumps(fields | {"images": images}))
    with pytest.raises(CasesFailedError, match=message):
        export_series(volumes / "case0.nii.gz", tmp_path / "out", export, told)


def test_four_dimensions_and_no_place_are_refused(converted, tmp_path):
    export, volumes = converted
    nib.save(nib.Nifti1Image(np.zeros((6, 8, 5, 2), np.float32), np.eye(4)), volumes / "case0.nii.gz")
    nowhere = nib.Nifti1Image(np.zeros((6, 8, 5), np.float32), None)
    nib.save(nowhere, volumes / "case1.nii.gz")
    with pytest.raises(CasesFailedError, match="2 of 3"):
        export_series(volumes, tmp_path / "out", export, COPY)
    reasons = [row["reason"] for row in rows_of(tmp_path / "out")]
    assert reasons[0] == (
        "case0.nii.gz: has 4 dimensions (2 volumes), and a DICOM series is written of one volume. "
        "Split it into a file a volume."
    )
    assert "does not say where it lies" in reasons[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--modality", "XA"], "--modality"),
        (["--pet-unit", "kBq"], "--pet-unit"),
        (["--model", "absent.pt"], "absent.pt"),
    ],
)
def test_options_are_checked_before_the_work(words, message, converted, tmp_path):
    export, volumes = converted
    done = CliRunner().invoke(app, ["export", str(volumes), str(tmp_path / "out"), "--like", str(export), *words])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["volumes", "like"])
def test_nothing_there_is_told(missing, converted, tmp_path):
    export, volumes = converted
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"empty.*holds no"):
        export_series(
            *((empty, tmp_path / "out", export) if missing == "volumes" else (volumes, tmp_path / "out", empty))
        )


def test_another_table_is_not_overwritten(converted, tmp_path):
    export, volumes = converted
    (tmp_path / "out").mkdir()
    (tmp_path / "out/exported.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no table of exported series"):
        export_series(volumes, tmp_path / "out", export, COPY)


def test_the_command_line(converted, tmp_path):
    export, volumes = converted
    words = ["export", str(volumes), str(tmp_path / "out"), "--like", str(export), "--algorithm", "Copy"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "3 series written" in done.output
    image = pydicom.dcmread(tmp_path / "out/case2/0005.dcm")
    assert image.SeriesDescription == "SYNTHETIC MR, NOT FOR DIAGNOSIS (Copy)"


def test_no_patient_data_in_the_table(converted, tmp_path):
    export, volumes = converted
    export_series(volumes, tmp_path / "out", export, COPY)
    text = (tmp_path / "out/exported.csv").read_text()
    assert "Doe" not in text
    assert "1.2.3" not in text


def test_volumes_that_would_share_a_folder_are_refused(converted, tmp_path):
    export, volumes = converted
    (volumes / "CASE0.nii").write_bytes(b"")
    with pytest.raises(InputError, match="would have one folder"):
        export_series(volumes, tmp_path / "out", export, COPY)


def test_a_series_of_several_time_points_is_told_and_left_out(make_series, tmp_path, caplog):
    series = make_series()
    for k in range(5):
        for time in range(2):
            tags = {
                "TemporalPositionIdentifier": time,
                "AcquisitionTime": f"10000{time}",
                "InstanceNumber": 5 * time + k,
            }
            series.write(k, f"{k} {time}", pixels=series.pixels[k] + 100 * time, **tags)
    nib.save(nib.Nifti1Image(np.zeros((6, 8, 5), np.float32), series.affine), tmp_path / "a.nii.gz")
    told = r"export: series 7-MR: has 2 time points\. Give a folder of the files of one time point\.$"
    with pytest.raises(InputError, match=told):
        export_series(tmp_path / "a.nii.gz", tmp_path / "out", tmp_path / "export", Told("MR", "", "Copy"))
    for file in list((tmp_path / "export").rglob("* 1*")):
        file.unlink()
    (row,) = export_series(tmp_path / "a.nii.gz", tmp_path / "out", tmp_path / "export", Told("MR", "", "Copy"))
    assert (row["status"], row["images"]) == ("ok", "5")
