"""Derived series of simulated scans, read back by other software and judged by the standard's tables."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from scipy.spatial.transform import Rotation

from medtrans.errors import InputError
from medtrans.scans import Conversion, read_series
from medtrans.scans.derived.series import Writing
from medtrans.simulate.scanner_export import write_scanner_export

OBLIQUE = Rotation.from_euler("zyx", (20, -35, 50), degrees=True).as_matrix()[:2].ravel()
TARGETS = [("CT", "HU"), ("MR", ""), ("PT", "SUV"), ("PT", "Bq/ml")]
PET = {
    "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN"],
    "SeriesDate": "20240301", "SeriesTime": "100000", "AcquisitionDate": "20240301", "AcquisitionTime": "100000",
    "StudyDate": "20240301", "PatientWeight": "70", "RescaleSlope": "0.5", "RescaleIntercept": "0",
}  # fmt: skip


def values_of(shape, modality, seed=3):
    """What a network might give: air to bone, uptake, anything."""
    low, high = {"CT": (-1024, 2500), "PT": (0, 30), "MR": (-3, 800)}[modality]
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def dose(**more):
    drug = pydicom.Dataset()
    drug.RadiopharmaceuticalStartTime, drug.RadionuclideTotalDose = "090000", "370000000"
    drug.RadionuclideHalfLife = "6586.2"
    for keyword, value in more.items():
        setattr(drug, keyword, value)
    return [drug]


def slope(files):
    """Of the coarsest image."""
    return max(float(pydicom.dcmread(path).get("RescaleSlope", 1)) for path in files)


@pytest.mark.parametrize(("modality", "unit"), TARGETS)
@pytest.mark.parametrize("source", ["CT", "MR", "PT"])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
def test_every_target_on_every_source(
    source, modality, unit, orientation, make_series, derive, check_conforms, check_voxels
):
    tags = {"Modality": source} | (PET | {"RadiopharmaceuticalInformationSequence": dose()} if source == "PT" else {})
    series = make_series(orientation=orientation, spacing=(0.8, 1.3), origin=(-40, 30, 12.5), **tags).write_all()
    (volume,) = read_series(series.folder, Conversion(pet_unit="bqml"))
    array = values_of(volume.array.shape, modality)
    files = derive(series.folder, array, volume.affine, modality, unit)
    check_conforms(files)
    within = 0.5 * slope(files) * (1 + 1e-4)
    check_voxels(files[0].parent, array, volume.affine, within)
    (back,) = read_series(files[0].parent, Conversion(pet_unit="bqml"))
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)
    assert np.abs(back.array - array).max() <= within
    assert back.metadata["unit"] == unit


def test_it_is_of_the_same_patient_study_and_space_and_says_what_it_is(make_series, derive):
    tags = {
        "StudyID": "S1",
        "AccessionNumber": "A7",
        "EthnicGroup": "none",
        "PatientComments": "fell",
        "Manufacturer": "ACME",
    }
    series = make_series(StudyDate="20240102", PatientBirthDate="19500101", StationName="CT1", **tags).write_all()
    (volume,) = read_series(series.folder)
    files = derive(series.folder, np.zeros(volume.array.shape), volume.affine)
    original = pydicom.dcmread(series.folder / "slice2")
    for image in map(pydicom.dcmread, files):
        shared = [e for e in original if e.tag.group == 0x10]
        shared += [original[k] for k in ("StudyInstanceUID", "StudyDate", "StudyID", "FrameOfReferenceUID")]
        assert all(image[element.tag] == element for element in shared)
        assert image.AccessionNumber == "A7"
        assert image.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert image.SeriesDescription == "SYNTHETIC CT, NOT FOR DIAGNOSIS (MedGAN)"
        assert image.SeriesNumber == 9007
        assert image.DerivationDescription.startswith(
            "Synthetic CT, computed from MR by MedGAN 0.1.0 (model sha256 abab"
        )
        assert [code.CodeMeaning for code in image.DerivationCodeSequence] == ["Artificial Intelligence"]
        scanner, software = image.ContributingEquipmentSequence
        assert (scanner.Manufacturer, scanner.StationName) == ("ACME", "CT1")
        assert software.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
        assert "ab" * 32 in software.ContributionDescription
        assert image.Manufacturer == "medtrans"


def test_every_image_names_the_one_it_lies_over(make_series, derive):
    series = make_series(orientation=OBLIQUE).write_all()
    (volume,) = read_series(series.folder)
    originals = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, series.folder.iterdir())}
    files = derive(series.folder, np.zeros(volume.array.shape), volume.affine)
    for image in map(pydicom.dcmread, files):
        (reference,) = image.SourceImageSequence
        over = originals.pop(reference.ReferencedSOPInstanceUID)
        np.testing.assert_allclose(image.ImagePositionPatient, over.ImagePositionPatient, atol=1e-9)
        np.testing.assert_allclose(image.ImageOrientationPatient, over.ImageOrientationPatient, atol=1e-9)
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        (listed,) = image.ReferencedSeriesSequence
        assert listed.SeriesInstanceUID == over.SeriesInstanceUID
        assert listed.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == over.SOPInstanceUID
    assert originals == {}


@pytest.mark.parametrize("numbers", [(1, 2, 3, 4, 5), (5, 4, 3, 2, 1), (3, 1, 5, 2, 4)])
def test_images_are_counted_by_place_in_the_direction_of_the_source(numbers, make_series, derive):
    series = make_series()
    for k, number in enumerate(numbers):
        series.write(k, InstanceNumber=number)
    (volume,) = read_series(series.folder)
    images = [pydicom.dcmread(path) for path in derive(series.folder, np.zeros(volume.array.shape), volume.affine)]
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4, 5]
    heights = [float(image.ImagePositionPatient[2]) for image in images]
    assert heights == sorted(heights, reverse=numbers == (5, 4, 3, 2, 1))


def test_uids_are_fresh_each_time_or_the_same_when_asked(make_series, derive):
    series = make_series(StudyDate="20240102", StudyTime="101112").write_all()
    (volume,) = read_series(series.folder)
    one, other = (derive(series.folder, np.zeros(volume.array.shape), volume.affine, name=n) for n in "ab")
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in [*one, *other]}
    assert len(uids) == 10
    assert len({pydicom.dcmread(path).SeriesInstanceUID for path in [*one, *other]}) == 2
    asked = Writing(reproducible=True)
    one, other = (
        derive(series.folder, np.zeros(volume.array.shape), volume.affine, writing=asked, name=n) for n in "cd"
    )
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    brighter = derive(series.folder, np.ones(volume.array.shape), volume.affine, writing=asked, name="e")
    assert pydicom.dcmread(brighter[0]).SeriesInstanceUID != pydicom.dcmread(one[0]).SeriesInstanceUID


@pytest.mark.parametrize(("modality", "unit"), TARGETS)
def test_enhanced_source(modality, unit, make_series, derive, check_conforms, check_voxels):
    series = make_series(orientation=OBLIQUE, spacing=(0.8, 1.3))
    series.write_enhanced([(k, series.pixels[k], None, {}) for k in (3, 1, 0, 4, 2)])
    (volume,) = read_series(series.folder)
    array = values_of(volume.array.shape, modality)
    files = derive(series.folder, array, volume.affine, modality, unit)
    check_conforms(files)
    check_voxels(files[0].parent, array, volume.affine, 0.5 * slope(files) * (1 + 1e-4))
    original = pydicom.dcmread(series.folder / "enhanced")
    for image in map(pydicom.dcmread, files):
        (reference,) = image.SourceImageSequence
        group = original.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(image.ImagePositionPatient, position, atol=1e-9)


@pytest.mark.parametrize("wanted", ["suv", "bqml"])
def test_pet_has_a_slope_a_slice_and_its_dose_and_gives_the_same_suv_in_either_unit(wanted, make_series, derive):
    drug = dose()
    series = make_series(**PET, RadiopharmaceuticalInformationSequence=drug).write_all(AcquisitionTime="101500")
    (volume,) = read_series(series.folder)  # SUV, by 70 kg and the dose left after an hour: PS3.3, counted by hand
    assert volume.metadata["suv"]["factor"] == pytest.approx(70000 / (370e6 * 2 ** (-3600 / 6586.2)))
    array = volume.array * np.linspace(0.1, 5, 5, dtype=np.float32)
    files = derive(series.folder, array, volume.affine, "PT", "SUV", Writing(pet_unit=wanted))
    images = [pydicom.dcmread(path) for path in files]
    assert {image.Units for image in images} == {{"suv": "GML", "bqml": "BQML"}[wanted]}
    assert len({float(image.RescaleSlope) for image in images}) == 5
    assert all(image.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose == 370e6 for image in images)
    (back,) = read_series(files[0].parent)
    assert back.metadata["unit"] == "SUV", back.metadata["warnings"]
    tall = np.abs(array).max(axis=(0, 1))  # of each slice
    assert (np.abs(back.array - array).max(axis=(0, 1)) <= tall / 65534 * 1.001).all()


def test_decay_is_counted_to_the_same_moment_where_a_vendor_has_its_own(make_series, derive):
    """The derived series holds no private tags: its SeriesTime says what they said."""
    series = make_series(**PET, Manufacturer="GE", RadiopharmaceuticalInformationSequence=dose())
    private = [(0x00090010, "LO", "GEMS_PETD_01"), (0x0009100D, "DT", "20240301095000")]
    for k in range(5):
        series.folder.mkdir(exist_ok=True)
        series.dataset(k, elements=private, SeriesTime="113000").save_as(
            series.folder / str(k), enforce_file_format=True
        )
    (volume,) = read_series(series.folder)
    assert volume.metadata["suv"]["decay_seconds"] == 3000
    files = derive(series.folder, volume.array, volume.affine, "PT", "SUV", Writing(pet_unit="bqml"))
    (back,) = read_series(files[0].parent)
    assert back.metadata["suv"]["decay_seconds"] == 3000
    np.testing.assert_allclose(back.array, volume.array, atol=volume.array.max() / 65534 * 1.001)


def test_another_pet_unit_needs_the_dose_of_the_source(make_series, derive):
    series = make_series(Modality="CT").write_all()
    (volume,) = read_series(series.folder)
    with pytest.raises(InputError, match="no PET in Bq/ml whose dose could lead to Bq/ml"):
        derive(series.folder, volume.array, volume.affine, "PT", "SUV", Writing(pet_unit="bqml"))


@pytest.mark.parametrize(("modality", "unit"), [("CT", ""), ("CT", "SUV"), ("PT", "HU"), ("PT", "")])
def test_a_unit_that_is_not_the_modalitys_is_refused(modality, unit, make_series, derive, tmp_path):
    series = make_series().write_all()
    (volume,) = read_series(series.folder)
    with pytest.raises(InputError, match="name it with --unit"):
        derive(series.folder, volume.array, volume.affine, modality, unit)
    assert not (tmp_path / "derived").exists()


def test_a_folder_that_is_there_is_never_written_over(make_series, derive, tmp_path):
    series = make_series().write_all()
    (volume,) = read_series(series.folder)
    files = derive(series.folder, volume.array, volume.affine)
    before = [path.read_bytes() for path in files]
    with pytest.raises(InputError, match="exists already"):
        derive(series.folder, volume.array + 1, volume.affine)
    assert [path.read_bytes() for path in files] == before


def test_a_write_that_fails_leaves_nothing(make_series, derive, tmp_path, monkeypatch):
    series = make_series().write_all()
    (volume,) = read_series(series.folder)
    save = pydicom.dataset.FileDataset.save_as

    def full(image, path, **options):
        if image.InstanceNumber == 3:
            raise OSError(28, "No space left on device")
        save(image, path, **options)

    monkeypatch.setattr(pydicom.dataset.FileDataset, "save_as", full)
    with pytest.raises(InputError, match="Make room"):
        derive(series.folder, volume.array, volume.affine)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_values_that_are_not_finite_are_refused(make_series, derive):
    series = make_series().write_all()
    (volume,) = read_series(series.folder)
    volume.array[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        derive(series.folder, volume.array, volume.affine)


def test_what_an_archive_would_refuse_is_not_carried_on(make_series, derive, check_conforms):
    series = make_series(BodyPartExamined="HEAD", Laterality="L", ProcedureCodeSequence=[])
    series.folder.mkdir()
    for k in range(5):
        with pydicom.config.disable_value_validation():
            image = series.dataset(k, PatientAge="0Y", PatientSize="1.7")
            image.save_as(series.folder / str(k), enforce_file_format=True)
    (volume,) = read_series(series.folder)
    files = derive(series.folder, volume.array, volume.affine)
    check_conforms(files)
    image = pydicom.dcmread(files[0])
    assert "PatientAge" not in image
    assert float(image.PatientSize) == 1.7


def test_loss_of_the_source_is_carried_forward(make_series, derive):
    tags = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "9",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    series = make_series(**tags).write_all()
    (volume,) = read_series(series.folder)
    image = pydicom.dcmread(derive(series.folder, volume.array, volume.affine)[0])
    assert (image.LossyImageCompression, float(image.LossyImageCompressionRatio)) == ("01", 9)


@pytest.mark.skipif(not shutil.which("dcentvfy"), reason="dicom3tools are not here")
def test_the_study_stays_consistent(make_series, derive):
    """dcentvfy compares what images of one patient and study must share."""
    series = make_series(StudyDate="20240102", PatientSex="F", EthnicGroup="x", StudyDescription="head").write_all()
    (volume,) = read_series(series.folder)
    files = [*derive(series.folder, volume.array, volume.affine), *series.folder.iterdir()]
    told = subprocess.run(["dcentvfy", *files], capture_output=True, text=True).stderr
    assert "Error" not in told


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    return write_scanner_export(tmp_path_factory.mktemp("hospital") / "export", 1, 8.0)


def test_simulated_hospital(hospital, derive, check_conforms, check_voxels, tmp_path):
    """Sagittal and axial MR, CT with padding, PET: each the target of the other's grid."""
    by_series = {}
    for path in (hospital / "PAT0001").rglob("IM*"):
        image = pydicom.dcmread(path, stop_before_pixels=True)
        by_series.setdefault((image.Modality, image.SeriesNumber), []).append(path)
    for (source, number), (modality, unit) in zip([("MR", 2), ("MR", 3), ("CT", 2), ("PT", 3)], TARGETS, strict=True):
        folder = tmp_path / f"{source} {number}"
        folder.mkdir()
        for path in by_series[source, number]:
            shutil.copy(path, folder)
        (volume,) = read_series(folder)
        array = values_of(volume.array.shape, modality)
        files = derive(folder, array, volume.affine, modality, unit, name=f"{modality} like {source}")
        check_conforms(files)
        check_voxels(files[0].parent, array, volume.affine, 0.5 * slope(files) * (1 + 1e-4))


def test_the_dose_of_enhanced_pet_comes_in_becquerel(make_series, derive, check_conforms):
    """Enhanced PET has it in MBq, classic PET in Bq: the SUV is the same."""
    tags = {name: value for name, value in PET.items() if name not in ("DecayCorrection", "CorrectedImage")}
    tags |= {"RescaleSlope": None, "RescaleIntercept": None, "DecayCorrected": "YES", "AttenuationCorrected": "YES"}
    tags |= {"DecayCorrectionDateTime": "20240301100000", "AcquisitionDateTime": "20240301101500"}
    drug = dose(RadionuclideTotalDose="370", RadiopharmaceuticalStartDateTime="20240301090000")
    series = make_series(**tags, RadiopharmaceuticalInformationSequence=drug)
    series.write_enhanced([(k, series.pixels[k], 0.5, {}) for k in range(5)])
    (volume,) = read_series(series.folder)
    assert volume.metadata["unit"] == "SUV", volume.metadata["warnings"]
    files = derive(series.folder, volume.array, volume.affine, "PT", "SUV", Writing(pet_unit="bqml"))
    check_conforms(files)
    image = pydicom.dcmread(files[0])
    assert image.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose == 370e6
    assert image.CorrectedImage == ["DECY", "ATTN"]
    (back,) = read_series(files[0].parent)
    assert back.metadata["suv"]["decay_seconds"] == volume.metadata["suv"]["decay_seconds"] == 3600
    np.testing.assert_allclose(back.array, volume.array, atol=volume.array.max() / 65534 * 1.001)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Müller^Jürgen=山田^太郎"),
        ("ISO_IR 100", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_keep_their_letters(charset, name, make_series, derive):
    series = make_series(SpecificCharacterSet=charset, PatientName=name).write_all()
    (volume,) = read_series(series.folder)
    image = pydicom.dcmread(derive(series.folder, volume.array, volume.affine)[0])
    assert image.PatientName == name
    original = pydicom.dcmread(series.folder / "slice0")
    assert image.PatientName.original_string == original.PatientName.original_string


def test_private_elements_stay_behind(make_series, derive):
    series = make_series()
    series.folder.mkdir()
    for k in range(5):
        image = series.dataset(k, elements=[(0x00110010, "LO", "ACME"), (0x00111001, "LO", "Doe")])
        image.save_as(series.folder / str(k), enforce_file_format=True)
    (volume,) = read_series(series.folder)
    image = pydicom.dcmread(derive(series.folder, volume.array, volume.affine)[0])
    assert not [element for element in image.iterall() if element.tag.is_private]
