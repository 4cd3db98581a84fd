"""A derived series of a de-identified source: as such a series is, and nobody's."""

import csv
import json

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medtrans import InputError
from medtrans.scans import convert_export
from medtrans.scans.deidentify.exports import deidentify_export
from medtrans.scans.deidentify.headers import Deidentifier
from medtrans.scans.deidentify.key import Key
from medtrans.scans.deidentify.profile import Choices
from medtrans.scans.derived.exporting import Told, export_series
from medtrans.scans.derived.series import Writing
from medtrans.scans.derived.translated import export_translated

SECRETS = ("Zqvortex", "Ulrika", "ZQ-4711", "Elsewhere", "20200102", "19310417")


@pytest.fixture
def scan(make_series):
    series = make_series(
        shape=(6, 16, 16), Modality="CT", PatientName="Zqvortex^Ulrika", PatientID="ZQ-4711",
        PatientBirthDate="19310417",
        InstitutionName="St. Elsewhere", StudyDate="20200102", StudyTime="101010", AcquisitionDate="20200102",
        AcquisitionTime="101112", SeriesDescription="head for Zqvortex", BodyPartExamined="HEAD", RescaleSlope="1",
        RescaleIntercept="-1024", StudyDescription="Zqvortex", AccessionNumber="ZQ-4711-7", PatientWeight="70",
        ReferringPhysicianName="Zqvortex^R", PatientPosition="HFS",
    )  # fmt: skip
    return series.write_all()


def written(scan, tmp_path, key="key.json", like=None, out="dicom", converted_with=None, retain=()):
    """The derived series of a volume converted with a key or without one."""
    options = {"key": tmp_path / converted_with} if converted_with else {}
    folder = tmp_path / f"nifti {converted_with}"
    (row,) = convert_export(scan.folder, folder, **options).itertuples()
    rules = Deidentifier(Key(tmp_path / key), Choices(frozenset(retain))) if key else None
    rows = export_series(
        folder / row.path, tmp_path / out, like or scan.folder, Told(algorithm="Copy"), Writing(), rules
    )
    assert [row["status"] for row in rows] == ["ok"]
    return sorted((tmp_path / out).glob("*/*.dcm"))


@pytest.mark.parametrize("converted_with", [None, "key.json"])
def test_nothing_of_the_patient_is_in_a_derived_series(scan, tmp_path, converted_with, check_conforms):
    files = written(scan, tmp_path, converted_with=converted_with)
    data = b"".join(path.read_bytes() for path in files)
    assert not [secret for secret in SECRETS if secret.lower().encode() in data.lower()]
    image = pydicom.dcmread(files[0])
    assert image.PatientID == "patient-001"
    assert image.SeriesDescription.startswith("SYNTHETIC CT, NOT FOR DIAGNOSIS")
    assert image.PatientIdentityRemoved == "YES"
    assert image.RecognizableVisualFeatures == "YES"
    assert [code.CodeValue for code in image.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert "PatientWeight" not in image
    check_conforms(files)


def test_it_refers_to_the_deidentified_copies_and_lies_over_them(scan, tmp_path):
    deidentify_export(scan.folder, tmp_path / "copies", tmp_path / "key.json")
    copies = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, (tmp_path / "copies").rglob("*.dcm"))}
    images = [pydicom.dcmread(path) for path in written(scan, tmp_path, retain=["patient"])]
    for image in images:
        source = copies[image.SourceImageSequence[0].ReferencedSOPInstanceUID]
        for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate", "AcquisitionDate"):
            assert image[name].value == source[name].value, name
        np.testing.assert_allclose(image.ImagePositionPatient, source.ImagePositionPatient)
        assert image.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert float(images[0].PatientWeight) == 70


def test_a_volume_finds_its_series_among_the_copies(scan, tmp_path):
    deidentify_export(scan.folder, tmp_path / "copies", tmp_path / "key.json")
    files = written(scan, tmp_path, key=None, like=tmp_path / "copies", converted_with="key.json")
    assert pydicom.dcmread(files[0]).PatientID == "patient-001"


def test_copies_are_not_deidentified_twice(scan, tmp_path):
    deidentify_export(scan.folder, tmp_path / "copies", tmp_path / "key.json")
    with pytest.raises(InputError, match=r"de-identified copy already.*[Ll]eave out --deidentify and --key"):
        written(scan, tmp_path, like=tmp_path / "copies", converted_with="key.json")


def test_the_command_writes_it_and_a_second_time_keeps_it(scan, tmp_path, run_medtrans):
    (row,) = convert_export(scan.folder, tmp_path / "nifti").itertuples()
    words = ["export", tmp_path / "nifti" / row.path, tmp_path / "out", "--like", scan.folder, "--algorithm", "Copy"]
    options = ["--deidentify", "--key", tmp_path / "key.json"]
    assert run_medtrans(*words, *options)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert run_medtrans(*words, *options)[0] == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")} == before
    with (tmp_path / "out" / "exported.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["kept"]


def test_options_without_their_others_are_refused(scan, tmp_path, run_medtrans):
    like = ["--like", scan.folder, "--algorithm", "Copy"]
    for words in (
        ["export", "x.nii.gz", tmp_path / "out", *like, "--retain", "patient"],
        ["export", "x.nii.gz", tmp_path / "out", *like, "--deidentify", "--key", tmp_path / "out" / "key.json"],
        ["translate", "bundles/medgan", scan.folder, tmp_path / "out", "--deidentify", "--key", tmp_path / "key.json"],
    ):
        code, told = run_medtrans(*words)
        assert code == 2
        assert "--deidentify" in told or "key.json" in told


def test_voxels_are_those_of_the_volume(scan, tmp_path, check_voxels):
    files = written(scan, tmp_path)
    (path,) = (tmp_path / "nifti None").rglob("*.nii.gz")
    image = nib.load(path)
    check_voxels(files[0].parent, image.get_fdata(dtype=np.float32), image.affine, 0.5)


def test_what_translate_writes_is_nobodys_too(scan, tmp_path):
    """As ``medtrans translate --dicom --deidentify`` calls it, once the volumes are there."""
    (row,) = convert_export(scan.folder, tmp_path / "nifti").itertuples()
    sidecar = tmp_path / "nifti" / row.path.replace(".nii.gz", ".json")
    fields = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(fields | {"synthesis": {"algorithm": "MedGAN", "images": fields["images"]}}))
    rules = Deidentifier(Key(tmp_path / "key.json"))
    export_translated([{"status": "ok", "output": row.path}], tmp_path / "nifti", scan.folder, rules=rules)
    files = sorted((tmp_path / "nifti" / "dicom").rglob("*.dcm"))
    data = b"".join(path.read_bytes() for path in files)
    assert len(files) == 6
    assert not [secret for secret in SECRETS if secret.lower().encode() in data.lower()]
