import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from medtrans.cohorts.recipe import Recipe
from medtrans.cohorts.selection import select
from medtrans.scans import convert_export
from medtrans.scans.output.bids import write_dataset_files

SE = {"ScanningSequence": ["SE"], "SequenceVariant": ["SK"]}
VALIDATOR = shutil.which("bids-validator-deno")


@pytest.fixture
def export(make_series):
    """Two patients and what BIDS has places for, what it has none for, and what cannot be told."""

    def write(folder, tags, images=((),), shape=(4, 6, 8), seed=0, **more):
        series = make_series(shape=shape, seed=seed, SeriesInstanceUID=f"1.2.{folder}", **tags, **more)
        for t, own in enumerate(images):
            for k in range(shape[0]):
                own_tags = {"AcquisitionNumber": t + 1, "InstanceNumber": shape[0] * t + k + 1} | dict(own)
                series.write(k, f"{folder}/{t}-{k}", pixels=series.pixels[k] + t, **own_tags)
        return series

    study = {"StudyInstanceUID": "1.5", "RepetitionTime": "2000", "EchoTime": "3", "Manufacturer": "Philips"}
    write(1, study, SeriesDescription="t1_mprage", SeriesNumber=1)
    write(2, study, SeriesDescription="t1_mprage", SeriesNumber=2, seed=1)
    write(3, study | {"SeriesNumber": 3}, [{"EchoTime": te, "SeriesDescription": "pd+t2_tse"} for te in ("12", "96")])
    kinds = [{"ImageType": ["ORIGINAL", "PRIMARY", kind]} for kind in "MP"]
    write(4, study | {"SeriesNumber": 4, "SeriesDescription": "t2*_gre"}, kinds)
    times = [{"TemporalPositionIdentifier": t + 1, "AcquisitionTime": f"1000{t:02d}"} for t in range(0, 10, 2)]
    write(5, study | {"SeriesNumber": 5, "SeriesDescription": "rest_bold"}, times)
    weights = [{"DiffusionBValue": 0.0}, *({"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": list(g)}
                                          for g in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)))]  # fmt: skip
    write(6, study | {"SeriesNumber": 6, "SeriesDescription": "dti"}, weights)
    write(7, study | {"SeriesNumber": 7, "SeriesDescription": "who knows"})
    write(8, {"PatientID": "Smith", "Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}, SeriesNumber=1)
    gap = make_series(shape=(6, 6, 8), SeriesInstanceUID="1.2.9", SeriesNumber=9, PatientID="Smith")
    for k in (0, 1, 2, 3, 5):
        gap.write(k, f"9/{k}")
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), gap.folder / "other_T1w.nii.gz")
    return gap.folder


def converted(table):
    return sorted(table[table.status == "converted"].path)


def of(subject, *names):
    return [f"{subject}/ses-01/{name}".replace("@", f"{subject}_ses-01") for name in names]


def by_patient(table):
    """The subject with most series, the CT's, and that of the image file."""
    counts = table[table.status == "converted"].groupby("patient").size()
    ct = table[table.modality == "CT"].patient.iloc[0]
    return counts.idxmax(), ct, next(name for name in counts.index if name not in (counts.idxmax(), ct))


def test_every_volume_lies_where_bids_has_it_and_the_rest_aside(export, tmp_path):
    table = convert_export(export, tmp_path / "out", layout="bids")
    main, ct, image = by_patient(table)
    assert sorted(converted(table)) == sorted([
        *of(main, "anat/@_T1w.nii.gz", "anat/@_run-2_T1w.nii.gz", "anat/@_echo-1_PDw.nii.gz",
            "anat/@_echo-2_T2w.nii.gz", "anat/@_part-mag_T2starw.nii.gz", "anat/@_part-phase_T2starw.nii.gz",
            "func/@_task-rest_bold.nii.gz", "dwi/@_dwi.nii.gz"),
        f"sourcedata/other/{main}/ses-01/007-MR.nii.gz", *of(ct, "ct/@_ct.nii.gz"), *of(image, "anat/@_T1w.nii.gz"),
    ])  # fmt: skip
    assert table.files.sum() == sum(path.is_file() for path in export.rglob("*"))
    [aside] = table[table.path.str.startswith("sourcedata")].itertuples()
    assert "not in BIDS: neither description nor timing say its weighting" in aside.reason
    assert {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.nii.gz")} == {
        *converted(table)
    }
    [dwi] = (tmp_path / "out").rglob("*_dwi.bval")
    assert dwi.read_text() == "0 1000 1000 1000\n"
    assert dwi.with_suffix(".bvec").exists()


def test_sidecars_have_what_bids_requires(export, tmp_path):
    convert_export(export, tmp_path / "out", layout="bids")
    [bold] = (tmp_path / "out").rglob("*_bold.json")
    fields = json.loads(bold.read_text())
    assert (fields["TaskName"], fields["RepetitionTime"]) == ("rest", 2)
    assert nib.load(bold.with_name(bold.name.replace(".json", ".nii.gz"))).header.get_zooms()[3] == 2
    [phase] = (tmp_path / "out").rglob("*_part-phase_*.json")
    assert json.loads(phase.read_text())["Units"] == "arbitrary"


@pytest.mark.skipif(VALIDATOR is None, reason="the BIDS validator is not installed")
def test_the_validator_of_bids_finds_no_error(export, tmp_path):
    convert_export(export, tmp_path / "out", layout="bids")
    found = subprocess.run([VALIDATOR, tmp_path / "out", "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(found.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_the_same_export_again_keeps_every_name(export, tmp_path):
    first = convert_export(export, tmp_path / "out", layout="bids")
    again = convert_export(export, tmp_path / "out", layout="bids")
    assert again[again.status == "converted"].reason.str.startswith("kept").all()
    columns = ["patient", "study", "series", "status", "path"]
    pd.testing.assert_frame_equal(first[columns], again[columns])


def test_dry_run_names_the_same_and_writes_nothing(export, tmp_path):
    foreseen = convert_export(export, tmp_path / "out", layout="bids", dry_run=True)
    assert not (tmp_path / "out").exists()
    done = convert_export(export, tmp_path / "out", layout="bids")
    assert foreseen.path.tolist() == done.path.tolist()
    assert foreseen.reason.tolist() == done.reason.tolist()


def test_top_files_are_there_and_what_a_user_changed_in_them_stays(export, tmp_path):
    out = tmp_path / "out"
    convert_export(export, out, layout="bids")
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "raw"
    people = (out / "participants.tsv").read_text().splitlines()
    assert people == ["participant_id", "sub-001", "sub-002", "sub-003"]
    (out / "participants.tsv").write_text("participant_id\tage\nsub-002\t44\nsub-009\t50\n")
    (out / "dataset_description.json").write_text("{}")
    (out / ".bidsignore").write_text("mine\n")
    write_dataset_files(out, ["sub-001", "sub-002"])
    assert (out / "participants.tsv").read_text() == "participant_id\tage\nsub-002\t44\nsub-009\t50\nsub-001\tn/a\n"
    assert (out / "dataset_description.json").read_text() == "{}"
    assert {"mine", "**/ct"} <= {*(out / ".bidsignore").read_text().splitlines()}


def test_identifiers_become_labels_of_letters_and_digits(make_series, tmp_path):
    for n, patient in enumerate(["A-1", "a_1", "名前", "Doe^Jane"]):
        series = make_series(shape=(3, 4, 4), seed=n, PatientID=patient, SeriesInstanceUID=f"1.2.{n}")
        for k in range(3):
            series.write(k, f"{n}-{k}", SeriesDescription="t1")
    table = convert_export(series.folder, tmp_path / "out", layout="bids", keep_identifiers=True)
    assert {*table.patient.str.casefold()} == {"sub-a1", "sub-a1x2", "sub-001", "sub-doejane"}
    assert all((tmp_path / "out" / path).is_file() for path in table.path)


@pytest.mark.parametrize("layout", ["plain", "bids"])
def test_a_recipe_finds_its_volumes_in_both_layouts(export, tmp_path, layout):
    convert_export(export, tmp_path / "out", layout=layout)
    series = {"modality": "^MR$", "description": "(?i)t1"}
    (tmp_path / "r.json").write_text(
        json.dumps({"modalities": {"T1": {"kind": "MR", "series": series, "choose": "first"}}, "reference": "T1"})
    )
    found = select(Recipe.read(tmp_path / "r.json"), tmp_path / "out")
    assert len(found) == 2
    assert all(not candidate.problem and candidate.sources["T1"].path.is_file() for candidate in found)
