"""``medtrans convert --deidentify``: the same voxels, and nothing else that leads back."""

import json

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset

from medtrans import InputError
from medtrans.scans import convert, convert_export


@pytest.fixture
def pet(make_series):
    """A PET series whose every descriptor holds a name."""
    drug = Dataset()
    drug.RadiopharmaceuticalStartTime, drug.RadiopharmaceuticalStartDateTime = "233000", "20200101233000"
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife, drug.Radiopharmaceutical = (
        "370000000",
        "6586.2",
        "FDG Zqvortex",
    )
    return make_series(
        Modality="PT", Units="BQML", DecayCorrection="START", CorrectedImage=["ATTN", "DECY"], PatientWeight="70",
        SeriesDate="20200102", SeriesTime="003000", AcquisitionDate="20200102", AcquisitionTime="003000",
        StudyDate="20200102", RescaleSlope="2", RescaleIntercept="0", PatientName="Zqvortex^Ulrika",
        PatientID="ZQ-4711",
        SeriesDescription="PET AC Zqvortex", ProtocolName="wb of Ulrika", Manufacturer="SIEMENS",
        RadiopharmaceuticalInformationSequence=[drug], ReconstructionMethod="OSEM for Zqvortex",
    ).write_all()  # fmt: skip


def converted(folder, out, **options):
    table = convert_export(folder, out, **options)
    (row,) = table[table.status == "converted"].itertuples()
    image = nib.load(out / row.path)
    return row, image, json.loads((out / row.path.replace(".nii.gz", ".json")).read_text())


def test_suv_is_the_same_and_nothing_names_the_patient(pet, tmp_path, holds):
    _, plain, told = converted(pet.folder, tmp_path / "plain")
    row, image, fields = converted(pet.folder, tmp_path / "out", key=tmp_path / "key.json")
    assert told["unit"] == fields["unit"] == "SUV"
    assert told["suv"]["factor"] == pytest.approx(fields["suv"]["factor"], rel=1e-12)
    np.testing.assert_array_equal(plain.get_fdata(), image.get_fdata())
    np.testing.assert_array_equal(plain.affine, image.affine)
    for word in ("Zqvortex", "Ulrika", "4711", "20200102", told["images"], told["frame_of_reference"], told["source"]):
        assert not holds(tmp_path / "out", word), word
    assert (row.description, fields["ProtocolName"]) == ("PET AC", "wb of")
    assert (fields["TracerName"], fields["ReconMethodName"]) == ("FDG", "OSEM for")
    assert fields["deidentified"] is True


def test_no_salted_hashes_are_left_in_the_folder(pet, tmp_path):
    convert_export(pet.folder, tmp_path / "out", key=tmp_path / "key.json")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"series.csv", "patient-001"}
    assert json.loads((tmp_path / "key.json").read_text())["salt"] not in (tmp_path / "out" / "series.csv").read_text()


def test_a_second_run_keeps_and_another_key_is_not_linked(pet, tmp_path):
    first, _, fields = converted(pet.folder, tmp_path / "out", key=tmp_path / "key.json")
    again, _, same = converted(pet.folder, tmp_path / "out", key=tmp_path / "key.json")
    assert "kept from an earlier run" in again.reason
    assert same == fields
    other, _, others = converted(pet.folder, tmp_path / "other", key=tmp_path / "other.json")
    linking = ("images", "frame_of_reference", "source")
    assert not {fields[name] for name in linking} & {others[name] for name in linking}
    assert first.frame != other.frame


def test_convert_and_deidentify_give_a_patient_one_name(pet, tmp_path):
    from medtrans.scans.deidentify.exports import deidentify_export

    rows = deidentify_export(pet.folder, tmp_path / "dicom", tmp_path / "key.json")
    row, _, fields = converted(pet.folder, tmp_path / "out", key=tmp_path / "key.json")
    assert {(one["patient"], one["study"]) for one in rows} == {(row.patient, row.study)}
    copied, _, of_copy = converted(tmp_path / "dicom", tmp_path / "again", keep_identifiers=True)
    assert copied.patient == row.patient
    assert of_copy["images"] == fields["images"]  # the volume is found again among the copies
    assert of_copy["frame_of_reference"] == fields["frame_of_reference"]


def test_a_disc_is_not_said_to_lack_its_images(make_series, tmp_path):
    from pydicom.fileset import FileSet

    series = make_series(PatientName="Zqvortex^U", StudyID="1", AccessionNumber="", StudyDate="20200101",
                         StudyTime="10",
                         SpecificCharacterSet="ISO_IR 100").write_all()  # fmt: skip
    disc = FileSet()
    for path in series.folder.iterdir():
        disc.add(path)
    disc.write(tmp_path / "disc")
    table = convert_export(tmp_path / "disc", tmp_path / "out", key=tmp_path / "key.json")
    assert sorted(table.status) == ["converted", "skipped"]


def test_faces_and_text_in_pixels_are_told(make_series, tmp_path):
    series = make_series(BodyPartExamined="HEAD", BurnedInAnnotation="YES").write_all()
    row, _, fields = converted(series.folder, tmp_path / "out", key=tmp_path / "key.json")
    assert "may show a face" in row.reason
    assert any("text" in warning for warning in fields["warnings"])


def test_errors_of_readers_are_logged_without_what_they_quote(pet, tmp_path, monkeypatch, caplog):
    def quoting(*arguments):
        raise RuntimeError("cannot read 'Zqvortex'")

    monkeypatch.setattr(convert, "read_part", quoting)
    with caplog.at_level("DEBUG"):
        (row,) = convert_export(pet.folder, tmp_path / "out", key=tmp_path / "key.json").itertuples()
    assert row.status == "failed"
    assert "RuntimeError" in caplog.text
    assert "Zqvortex" not in caplog.text


def test_copies_are_not_deidentified_twice(pet, tmp_path):
    from medtrans.scans.deidentify.exports import deidentify_export

    deidentify_export(pet.folder, tmp_path / "copies", tmp_path / "key.json")
    with pytest.raises(InputError, match=r"de-identified copy already.*[Ll]eave out --deidentify and --key"):
        convert_export(tmp_path / "copies", tmp_path / "out", key=tmp_path / "key.json")


def test_contradicting_wishes_are_refused(pet, tmp_path, run_medtrans):
    with pytest.raises(InputError, match="contradict"):
        convert_export(pet.folder, tmp_path / "out", key=tmp_path / "key.json", keep_identifiers=True)
    convert_export(pet.folder, tmp_path / "plain")
    with pytest.raises(InputError, match="without --deidentify"):
        convert_export(pet.folder, tmp_path / "plain", key=tmp_path / "key.json")
    (tmp_path / "plain" / ".pseudonyms.json").unlink()  # as one does before handing a folder on
    with pytest.raises(InputError, match="without --deidentify"):
        convert_export(pet.folder, tmp_path / "plain", key=tmp_path / "key.json")
    code, told = run_medtrans("convert", pet.folder, tmp_path / "out", "--deidentify")
    assert code == 2
    assert "--key" in told


def test_files_that_are_no_dicom_lose_what_they_are_called(tmp_path, holds):
    path = tmp_path / "in" / "Zqvortex_Ulrika_T1.nii.gz"
    path.parent.mkdir()
    header = nib.Nifti1Header()
    header["descrip"], header["intent_name"] = b"Zqvortex", b"Zqvortex"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4), header), path)
    convert_export(path.parent, tmp_path / "out", key=tmp_path / "key.json")
    assert not holds(tmp_path / "out", "Zqvortex")
    (written,) = (tmp_path / "out").rglob("*.nii.gz")
    assert nib.load(written).header["descrip"].item() == b""
