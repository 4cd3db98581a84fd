"""Whole files: what lies around the data set, within pixels, and whether they still are what the standard asks for."""

import io
import shutil
import subprocess
from collections import Counter

import numpy as np
import PIL.Image
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
from medtrans.scans.deidentify.instances import _without_jpeg_comments, why_not, write_copy


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


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [(ExplicitVRLittleEndian, np.uint8), (ExplicitVRBigEndian, np.uint16), (DeflatedExplicitVRLittleEndian, np.int16)],
)
def test_bytes_behind_the_pixels_go(make_series, rules, whose, tmp_path, syntax, kind):
    series = make_series(np.arange(15, dtype=kind).reshape(1, 3, 5))  # of an odd length in 8 bits
    path = series.write(0, encoding=syntax)
    dataset = pydicom.dcmread(path)
    pixels = dataset.PixelData[: series.pixels.nbytes]
    dataset["PixelData"].value = pixels + b"patient Zqvortex" + b"!" * (len(pixels) % 2)
    dataset.save_as(path)
    copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
    assert copy.PixelData == pixels + b"\0" * (len(pixels) % 2)
    np.testing.assert_array_equal(copy.pixel_array, series.pixels[0])


def test_full_colours_that_are_said_to_be_halved_stay(image, rules, whose, tmp_path):
    pixels = np.arange(48, dtype=np.uint8)
    dataset = image(SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0, BitsAllocated=8,
                    BitsStored=8, HighBit=7)  # fmt: skip
    for stored in (pixels.tobytes(), pixels[:32].tobytes()):
        dataset.PixelData = stored
        dataset.save_as(tmp_path / "in.dcm", enforce_file_format=True)
        assert copy_of(tmp_path / "in.dcm", rules(), whose, tmp_path / "out.dcm").PixelData == stored


def test_pixels_that_cannot_be_counted_are_refused(image, rules, whose, tmp_path):
    for tags in ({"Rows": None}, {"BitsAllocated": 12}):
        image(**tags).save_as(tmp_path / "in.dcm", enforce_file_format=True)
        with pytest.raises(InputError, match="pixels"):
            write_copy(tmp_path / "in.dcm", tmp_path / "out.dcm", rules(), whose, Counter())


TEXT = b"patient Zqvortex"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1"


def segment(marker, text=TEXT):
    return b"\xff" + bytes([marker]) + (len(text) + 2).to_bytes(2, "big") + text


def hidden_in_jpeg(frame):
    """The frame with text in application data that decoders look at, behind its scan, and behind its end."""
    end = frame.rindex(b"\xff\xd9")
    before = segment(0xEE) + segment(0xEE, b"Adobe" + TEXT) + segment(0xE8) + segment(0xE8, b"mrfx" + TEXT) + ADOBE
    return frame[:2] + before + frame[2:end] + segment(0xFE) + segment(0xE1) + frame[end:] + TEXT + b"\xff\xd9"


def test_text_anywhere_between_the_segments_of_a_jpeg_stream_goes(make_series, rules, whose, holds, tmp_path):
    series = make_series(shape=(1, 40, 36))
    path = series.write(0, encoding=JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([hidden_in_jpeg(frame)])
    dataset.save_as(path)
    copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
    assert not holds((tmp_path / "out.dcm").read_bytes(), "Zqvortex")
    (left,) = generate_frames(copy.PixelData, number_of_frames=1)
    assert left.replace(ADOBE, b"").rstrip(b"\0") == frame.rstrip(b"\0")  # the colour transform stays


def test_comments_between_the_scans_of_a_progressive_jpeg_go():
    smooth = (np.add.outer(np.arange(64), np.arange(48)) % 256).astype(np.uint8)
    stream = io.BytesIO()
    PIL.Image.fromarray(smooth).save(stream, "JPEG", progressive=True)
    frame = stream.getvalue()
    second = frame.index(b"\xff\xc4", frame.index(b"\xff\xda"))  # tables between the scans
    stripped = _without_jpeg_comments(frame[:second] + segment(0xFE) + frame[second:])
    assert TEXT not in stripped
    assert frame.count(b"\xff\xda") == stripped.count(b"\xff\xda") > 2
    np.testing.assert_array_equal(PIL.Image.open(io.BytesIO(stripped)), PIL.Image.open(io.BytesIO(frame)))


def test_text_behind_a_jpeg_2000_stream_goes_and_in_the_header_of_a_tile_it_is_refused(
    make_series, rules, whose, holds, tmp_path
):
    series = make_series(shape=(1, 40, 36))
    path = series.write(0, encoding=JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    frame = frame[: frame.rindex(b"\xff\xd9") + 2]
    tile = frame.index(b"\xff\x90")
    size = int.from_bytes(frame[tile + 6 : tile + 10], "big")
    for length in (size, 0):  # nought: up to the end of the stream
        sized = frame[: tile + 6] + length.to_bytes(4, "big") + frame[tile + 10 :]
        dataset.PixelData = encapsulate([sized + TEXT + b"\xff\xd9"])
        dataset.save_as(path)
        copy = copy_of(path, rules(), whose, tmp_path / "out.dcm")
        assert not holds((tmp_path / "out.dcm").read_bytes(), "Zqvortex")
        np.testing.assert_array_equal(copy.pixel_array, series.pixels[0])
    comment = segment(0x64, b"\0\1" + TEXT)
    length = (size + len(comment)).to_bytes(4, "big")
    commented = frame[: tile + 6] + length + frame[tile + 10 : tile + 12] + comment + frame[tile + 12 :]
    dataset.PixelData = encapsulate([commented])
    dataset.save_as(path)
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, series.pixels[0])  # a valid stream
    with pytest.raises(InputError, match="comment"):
        write_copy(path, tmp_path / "refused.dcm", rules(), whose, Counter())


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_that_is_cut_short_is_refused(make_series, rules, whose, tmp_path, syntax):
    path = make_series(shape=(1, 40, 36)).write(0, encoding=syntax)
    dataset = pydicom.dcmread(path)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    dataset.save_as(path)
    with pytest.raises(InputError, match="cannot be read"):
        write_copy(path, tmp_path / "out.dcm", rules(), whose, Counter())


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
