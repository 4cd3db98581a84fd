import json
import re
import subprocess

import dcm2niix
import pytest
from pydicom.dataset import Dataset

from medtrans.scans import convert_export
from medtrans.scans.output.sidecar import radionuclide

SCANNER = {
    "Manufacturer": "SIEMENS", "ManufacturerModelName": "Prisma", "SoftwareVersions": "syngo E11",
    "MagneticFieldStrength": "3", "BodyPartExamined": "BRAIN", "PatientPosition": "HFS", "SeriesDescription": "t1 mpr",
    "ProtocolName": "t1 mpr sag", "StationName": "MRC4711", "InstitutionName": "Hospital", "StudyDate": "20200102",
    "SeriesTime": "101112", "AcquisitionDate": "20200102", "AcquisitionTime": "101112.5", "DeviceSerialNumber": "66",
}  # fmt: skip
MR = {
    "EchoTime": "2.98", "RepetitionTime": "2300", "InversionTime": "900", "FlipAngle": "9", "EchoTrainLength": 1,
    "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SK", "SP"], "MRAcquisitionType": "3D", "NumberOfAverages": 1,
    "SequenceName": "*tfl3d1", "PixelBandwidth": "240", "ImagingFrequency": "123.2",
}  # fmt: skip


def written(series, tmp_path, **options):
    [row] = convert_export(series.folder, tmp_path / "out", **options).itertuples()
    return json.loads((tmp_path / "out" / row.path.replace(".nii.gz", ".json")).read_text())


def test_fields_of_mr_are_named_and_scaled_as_dcm2niix_does(make_series, tmp_path):
    series = make_series(**SCANNER, **MR).write_all()
    command = [dcm2niix.bin, "-z", "n", "-f", "x", "-o", tmp_path, series.folder]
    subprocess.run(command, check=True, capture_output=True)
    reference = json.loads((tmp_path / "x.json").read_text())
    fields = written(series, tmp_path)
    for name in ("Modality", "Manufacturer", "ManufacturersModelName", "MagneticFieldStrength", "BodyPart",
                 "PatientPosition", "SeriesDescription", "ProtocolName", "SoftwareVersions", "ScanningSequence",
                 "SequenceVariant", "MRAcquisitionType", "SequenceName", "SliceThickness", "EchoTime", "RepetitionTime",
                 "InversionTime", "FlipAngle", "ImageType", "SeriesNumber", "ImagingFrequency"):  # fmt: skip
        mine, theirs = fields[name], reference[name]
        theirs = re.split(r"[\\_]", theirs) if name in ("ScanningSequence", "SequenceVariant") else theirs
        mine, theirs = (mine.lower(), theirs.lower()) if name == "Manufacturer" else (mine, theirs)
        assert mine == (pytest.approx(theirs) if isinstance(theirs, float) else theirs), name
    assert fields["ConversionSoftware"] == "medtrans"


def test_bids_and_dicom_names_come_first_and_own_keys_are_in_snake_case(make_series, tmp_path):
    fields = written(make_series(**SCANNER, **MR).write_all(), tmp_path)
    own = [name for name in fields if not re.fullmatch("[A-Z][A-Za-z0-9]+", name)]
    assert list(fields)[-len(own) :] == own
    assert all(re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", name) for name in own)
    assert {"unit", "rescale", "spacing_mm", "shape", "warnings", "orientation"} <= set(own)


def test_what_differs_between_images_is_left_out(make_series, tmp_path):
    series = make_series(Modality="CT", KVP="120", RescaleSlope="1", RescaleIntercept="-1024", ConvolutionKernel="B30f")
    for k in range(5):
        series.write(k, XRayTubeCurrent=100 + k, ExposureTime=500)
    fields = written(series, tmp_path)
    assert (fields["KVP"], fields["ExposureTime"], fields["ConvolutionKernel"]) == (120, 500, "B30f")
    assert "XRayTubeCurrent" not in fields


def pet(make_series, **tags):
    code, drug = Dataset(), Dataset()
    code.CodeMeaning = "^18^Fluorine"
    drug.Radiopharmaceutical = "FDG"
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = "4e8", "6586.2"
    drug.RadiopharmaceuticalStartTime = "090000"
    drug.RadionuclideCodeSequence = [code]
    return make_series(
        Modality="PT", Units="BQML", DecayCorrection="START", RescaleSlope="2", RescaleIntercept="0",
        PatientWeight="70", RadiopharmaceuticalInformationSequence=[drug], ActualFrameDuration=120000,
        ReconstructionMethod="OSEM 3i24s", AttenuationCorrectionMethod="CT based", DecayFactor="1.37",
        CorrectedImage=["ATTN", "DECY"], **SCANNER, **tags,
    )  # fmt: skip


@pytest.mark.parametrize(("unit", "units"), [("suv", "g/mL"), ("bqml", "Bq/mL")])
def test_pet_has_bids_fields_and_no_dose(make_series, tmp_path, unit, units):
    from medtrans.scans import Conversion

    fields = written(pet(make_series).write_all(), tmp_path, conversion=Conversion(pet_unit=unit))
    expected = {
        "Units": units, "TracerName": "FDG", "TracerRadionuclide": "F18", "ImageDecayCorrected": True,
        "FrameDuration": [120.0], "FrameTimesStart": [0.0], "ReconMethodName": "OSEM 3i24s",
        "AttenuationCorrection": "CT based", "DecayCorrectionFactor": [1.37],
    }  # fmt: skip
    assert {name: fields.get(name) for name in expected} == expected
    assert not {"InjectedRadioactivity", "PatientWeight", "TimeZero"} & set(fields)


def test_dynamic_pet_has_the_starts_and_durations_of_its_frames(make_series, tmp_path):
    series = pet(make_series)
    for t, (clock, length) in enumerate([("235950", 10), ("000000", 20), ("000020.5", 30)]):
        for k in range(5):
            series.write(k, f"{t}-{k}", AcquisitionTime=clock, AcquisitionDate="2020010" + "122"[t],
                         ActualFrameDuration=1000 * length, pixels=series.pixels[k] + t)  # fmt: skip
    fields = written(series, tmp_path)
    assert fields["FrameTimesStart"] == [0, 10, 30.5]
    assert fields["FrameDuration"] == [10, 20, 30]
    assert fields["time_points"] == 3


SECRETS = ("Doe", "4711", "Hospital", "20200102", "101112", "66", "1.2.826.0.1.3680043")


def test_no_name_id_uid_date_or_time_of_day_is_written(make_series, tmp_path):
    text = json.dumps(written(pet(make_series).write_all(), tmp_path) | {"source": "", "volume": "", "frame": ""})
    text = re.sub(r'"(source|sha256|frame_of_reference)": "[0-9a-f]*"', "", text)
    assert not [secret for secret in SECRETS if secret in text.replace("6586.2", "")]


def test_identifiers_are_written_when_they_are_wanted(make_series, tmp_path):
    series = pet(make_series).write_all()
    fields = written(series, tmp_path, keep_identifiers=True)
    assert fields["PatientID"] == "Doe-4711"
    assert fields["SeriesInstanceUID"] == series.series
    assert fields["AcquisitionDate"] == "20200102"
    assert (fields["InjectedRadioactivity"], fields["InjectedRadioactivityUnits"]) == (400, "MBq")


@pytest.mark.parametrize(
    ("meaning", "name"),
    [("^18^Fluorine", "F18"), ("18F", "F18"), ("F-18", "F18"), ("^68^Gallium", "Ga68"), ("C11", "C11"),
     ("^99m^Technetium", ""), ("Doe, Jane", ""), (None, ""), ("", "")],
)  # fmt: skip
def test_radionuclide_is_a_symbol_with_its_mass_number_or_nothing(meaning, name):
    assert radionuclide(meaning) == name
