"""Whole files: what lies around the data set, within pixels, and whether they still are what the standard asks for."""

import shutil
import subprocess
from collections import Counter

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from medtrans import InputError
from medtrans.scans.deidentify.instances import why_not, write_copy


def copy_of(path, rules, whose, target, **options):
    write_copy(path, target, rules, whose, Counter(), **options)
    return pydicom.dcmread(target)


def test_nothing_around_the_data_set_is_handed_on(image, rules, whose, holds, tmp_path):
    dataset = image()
    dataset.preamble = b"II*\0Zqvortex".ljust(128, b"\0")
    meta = dataset.file_meta
    meta.SourceApplicationEntityTitle, meta.SendingApplicationEntityTitle = "ZQVORTEX1", "ZQVORTEX2"
    meta.ReceivingApplicationEntityTitle, meta.SourcePresentationAddress = "ZQVORTEX3", "http://zqvortex"
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = "1.2.99.1", b"ZQVORTEX"
    meta.ImplementationVersionName = "ZQVORTEX"
    path = tmp_path / "in.dcm"
    dataset.save_as(path, enforce_file_format=True)
    with path.open("ab") as file:
        file.write(b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0ZQVORTEX")  # trailing padding
    assert holds(path.read_bytes(), "ZQVORTEX")
    copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
    assert not holds((tmp_path / "out.dcm").read_bytes(), "ZQVORTEX")
    assert copy.preamble == b"\0" * 128
    assert copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID != dataset.SOPInstanceUID


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
     JPEG2000Lossless, JPEGLSLossless],
)  # fmt: skip
def test_pixels_are_the_same_in_every_transfer_syntax(make_series, rules, whose, tmp_path, syntax):
    series = make_series(shape=(1, 40, 36), PatientName="Zqvortex^U", InstitutionName="St. Elsewhere")
    path = series.write(0, encoding=syntax)
    copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
    assert copy.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(copy.pixel_array, series.pixels[0])
    assert b"Elsewhere" not in (tmp_path / "out.dcm").read_bytes()


def test_a_bare_data_set_gets_file_meta(make_series, rules, whose, tmp_path):
    series = make_series(shape=(1, 40, 36))
    path = series.write(0, encoding="no preamble")
    copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
    np.testing.assert_array_equal(copy.pixel_array, series.pixels[0])


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_comments_within_compressed_frames_go(make_series, rules, whose, holds, tmp_path, syntax):
    series = make_series(shape=(1, 40, 36))
    dataset = pydicom.dcmread(series.write(0, encoding=syntax))
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    text = b"patient Zqvortex"
    if syntax == JPEG2000Lossless:  # a COM segment behind SIZ
        behind = 4 + int.from_bytes(frame[4:6], "big")
        comment = b"\xff\x64" + (len(text) + 4).to_bytes(2, "big") + b"\0\1" + text
    else:
        behind, comment = 2, b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    dataset.PixelData = encapsulate([frame[:behind] + comment + frame[behind:] + b"Zqvortex"])
    path = tmp_path / "in.dcm"
    dataset.save_as(path)
    assert holds(path.read_bytes(), "Zqvortex")
    copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
    assert not holds((tmp_path / "out.dcm").read_bytes(), "Zqvortex")
    np.testing.assert_array_equal(copy.pixel_array, series.pixels[0])


def test_a_stream_that_is_not_looked_through_is_refused(image, rules, whose, tmp_path):
    dataset = image()
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.PixelData = encapsulate([b"\0" * 8])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "in.dcm")
    with pytest.raises(InputError, match="not looked through"):
        write_copy(tmp_path / "in.dcm", tmp_path / "out.dcm", rules(), whose, Counter())
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize(("kind", "low"), [("<u2", 0), ("<i2", -2048)])
def test_overlays_in_unused_bits_of_pixels_go_and_values_stay(image, rules, whose, tmp_path, kind, low):
    values = np.linspace(low, 2047, 16).astype(kind)
    dataset = image(PixelRepresentation=int(kind == "<i2"))
    overlay = np.arange(16, dtype="<u2") % 2 << 13
    dataset.PixelData = ((values.view("<u2") & 0x0FFF) | overlay).tobytes()
    dataset.add_new((0x6000, 0x0102), "US", 13)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    copy = copy_of(tmp_path / "in.dcm", rules(), whose, tmp_path / "out.dcm")
    stored = np.frombuffer(copy.PixelData, kind)
    np.testing.assert_array_equal(stored, values)


@pytest.mark.parametrize("keyword", ["ContentSequence", "EncapsulatedDocument", "GraphicAnnotationSequence"])
def test_objects_of_which_the_content_is_text_are_not_handed_on(image, item, keyword):
    dataset = image()
    setattr(dataset, keyword, b"%PDF" if keyword == "EncapsulatedDocument" else [item(TextValue="Zqvortex")])
    assert "not cleaned" in why_not(dataset)
    assert why_not(image()) == ""
    assert "private" in why_not(image(SOPClassUID="1.3.12.2.1107.5.9.1"))


def faults(path):
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace").stderr
    return {line for line in told.splitlines() if line.startswith("Error")}


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools are not here")
@pytest.mark.parametrize("dates", ["shift", "remove"])
def test_a_copy_has_no_faults_that_its_source_had_not(image, rules, whose, item, tmp_path, dates):
    dataset = image(
        ScanningSequence="SE", SequenceVariant="NONE", ScanOptions="", MRAcquisitionType="2D", EchoTime="10",
        RepetitionTime="500", EchoTrainLength="1", PatientBirthDate="19310417", PatientSex="F", PatientPosition="HFS",
        ReferringPhysicianName="Roe^R", StudyID="S1", AccessionNumber="A1", PositionReferenceIndicator="",
        Laterality="",
        SeriesDate="20200102", SeriesTime="101600", ContentDate="20200102", ContentTime="101700",
        InstitutionName="St. Elsewhere", OperatorsName="Roe^O", PatientWeight="70", BodyPartExamined="BRAIN",
        AcquisitionDateTime="20200102101600", DeviceSerialNumber="123",
    )  # fmt: skip
    dataset.ProcedureCodeSequence = [item(CodeValue="1", CodingSchemeDesignator="99STE", CodeMeaning="for Dr. Roe")]
    dataset.InstitutionCodeSequence = [item(CodeValue="1", CodingSchemeDesignator="99STE", CodeMeaning="Elsewhere")]
    dataset.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    copy_of(tmp_path / "in.dcm", rules(dates=dates), whose, tmp_path / "out.dcm", face=True)
    assert faults(tmp_path / "out.dcm") <= faults(tmp_path / "in.dcm")
    assert pydicom.dcmread(tmp_path / "out.dcm").RecognizableVisualFeatures == "YES"
