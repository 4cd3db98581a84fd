"""Whose an image is: by PatientID, and by who issued it where one number is several patients'."""

from pathlib import Path

from medtrans.scans.deidentify.exports import deidentify_export
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.series.planning import owners


def patients(*tags):
    """The patients of files with the PatientID, issuer and study given."""
    names = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")
    files = [
        ScanFile(Path("x"), "dicom", {"SeriesInstanceUID": "1.9", **dict(zip(names, own, strict=True))})
        for own in ([value or "" for value in own] for own in tags)
    ]
    return [patient for patient, _ in owners(files)]


def test_one_number_of_several_issuers_is_several_patients():
    assert patients(("1", "A", "1.1"), ("1", "B", "1.2"), ("2", "A", "1.3")) == ["1|A", "1|B", "2"]


def test_a_number_of_one_issuer_is_told_by_itself():
    """As it was before issuers were looked at: names that were given stay."""
    assert patients(("1", "A", "1.1"), ("1", "", "1.2"), ("2", "B", "1.3")) == ["1", "1", "2"]


def test_an_image_without_issuer_belongs_to_that_of_its_study():
    assert patients(("1", "A", "1.1"), ("1", "B", "1.2"), ("1", "", "1.2"), ("1", "", "1.3")) == [
        "1|A",
        "1|B",
        "1|B",
        "1",
    ]


def test_a_study_that_names_two_issuers_shows_that_they_mean_one_patient():
    assert patients(("1", "A", "1.1"), ("1", "B", "1.1"), ("1", "B", "1.2")) == ["1", "1", "1"]


def test_two_sites_patients_of_one_number_get_two_pseudonyms(make_series, tmp_path):
    for site in "AB":
        series = make_series(shape=(2, 8, 6), PatientID="1", PatientName=f"Zq{site}", IssuerOfPatientID=site,
                             StudyInstanceUID=f"1.2.{ord(site)}", SeriesInstanceUID=f"1.3.{ord(site)}")  # fmt: skip
        for k in range(2):
            series.write(k, f"{site}{k}")
    rows = deidentify_export(series.folder, tmp_path / "out", tmp_path / "key.json")
    assert {(row["patient"], row["study"]) for row in rows} == {
        ("patient-001", "study-01"),
        ("patient-002", "study-01"),
    }
