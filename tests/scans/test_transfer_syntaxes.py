"""Every transfer syntax that a decoder here can read."""

import base64
import itertools
import re

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medtrans import InputError
from medtrans.scans import convert_export, read_series

LOSSLESS = ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"]
LOSSY = ["JPEGBaselineProcess1", "JPEGExtendedProcess2_4", "JPEGLSNearLossless", "JPEG2000"]
# (37 row + 11 column) mod 4096, and 150 row - 90 column, coded by OpenJPH 0.26.3
HTJ2K = {
    "u": "/0//UQApQAAAAAAUAAAAEAAAAAAAAAAAAAAAFAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
    "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAIoAAf+TwAAm+f0FB3QAwAASgGgBh3QAwAASQAATgP0ncwCiivoA"
    "gjQAwAASQAAVQPUicwBQoaD+AAhAd1YAwAAVEAAFaDCE8NfgC3UApCQSifTgCEYhAey4AMAAKyAAFqBERERE7+Cnp6fCeABIBEEQBEEQ5P6C"
    "PYQge/YQgey8AP/Z",
    "i": "/0//UQApQAAAAAAUAAAAEAAAAAAAAAAAAAAAFAAAABAAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
    "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJUAAf+TwAAlzQCHdADAABMAifsDB3QAwAASwAATgPAAB3QAtEqr"
    "AMI0AMAAE0AAFUAQ/gACdABYxQqrABjAd1YAwAAVMAAFcJMnJyfX4Yt1AKKKEiVK1OAQRkIB7LgAwAAr4AAWuLPZbDabzWbv6np6cQJ4ACpV"
    "VFRUVFRUVFT+/oY9jGB79jGB7LwA/9k=",
}


def smooth(dtype, low, high, shape=(3, 32, 40)):
    """Values a lossy codec can keep: slow waves over the whole range."""
    k, i, j = np.mgrid[: shape[0], : shape[1], : shape[2]]
    wave = 0.5 + 0.25 * np.sin(i / 9 + k) + 0.25 * np.cos(j / 11)
    return np.rint(low + (high - low) * wave).astype(dtype)


def recode(folder, syntax):
    """Every file of ``folder`` in another transfer syntax, by GDCM."""
    for path in sorted(folder.iterdir()):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()


def only(series):
    [volume] = read_series(series.folder)
    return volume


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint8])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_images_of_gdcm_come_back_bit_for_bit(make_series, reference_image, syntax, dtype):
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(5).integers(limits.min, limits.max, (3, 24, 20), dtype, endpoint=True)
    series = make_series(pixels).write_all()
    recode(series.folder, syntax)
    assert pydicom.dcmread(series.folder / "slice0").file_meta.TransferSyntaxUID.is_encapsulated
    np.testing.assert_array_equal(only(series).array, reference_image(series).get_fdata())


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_12_bits_in_16_signed_and_unsigned(make_series, reference_image, syntax):
    for dtype, low in ((np.uint16, 0), (np.int16, -2048)):
        pixels = np.random.default_rng(6).integers(low, low + 4096, (3, 24, 20)).astype(dtype)
        series = make_series(pixels, BitsStored=12, HighBit=11, SeriesInstanceUID=f"1.2.{low + 4000}").write_all()
        recode(series.folder, syntax)
        np.testing.assert_array_equal(only(series).array, reference_image(series).get_fdata())


@pytest.mark.parametrize("syntax", LOSSY)
def test_lossy_images_are_near_and_said_to_be_lossy(make_series, reference_image, syntax):
    deep = syntax != "JPEGBaselineProcess1"
    pixels = smooth(np.uint16, 0, 4095) if deep else smooth(np.uint8, 0, 255)
    series = make_series(pixels, **({"BitsStored": 12, "HighBit": 11} if deep else {})).write_all()
    recode(series.folder, syntax)
    volume = only(series)
    assert np.abs(volume.array - reference_image(series).get_fdata()).max() < 0.02 * pixels.max()
    assert any("compressed with loss" in warning for warning in volume.metadata["warnings"])


@pytest.mark.parametrize("stated", ["00", "01", None])
def test_jpeg_2000_is_lossy_when_the_header_says_so_and_suspect_when_it_says_nothing(make_series, stated):
    series = make_series(smooth(np.uint16, 0, 4095)).write_all(LossyImageCompression=stated)
    recode(series.folder, "JPEG2000")
    for path in series.folder.iterdir():  # GDCM writes what it did, whatever the header said
        dataset = pydicom.dcmread(path)
        if stated is None:
            dataset.pop("LossyImageCompression", None)
        else:
            dataset.LossyImageCompression = stated
        dataset.save_as(path)
    told = [warning for warning in only(series).metadata["warnings"] if "with loss" in warning]
    assert [text.split(" compressed")[0] for text in told] == {"00": [], "01": ["was"], None: ["may have been"]}[stated]


def frames_of(syntax, pixels):
    """One enhanced file's frames as the encoder leaves them."""
    coded = []
    for plane in pixels:
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *plane.shape, 1
        dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.SOPClassUID = dataset.SOPInstanceUID = "1.2.3"
        dataset.PixelData = plane.tobytes()
        dataset.compress(syntax)
        coded += generate_frames(dataset.PixelData, number_of_frames=1)
    return coded


@pytest.mark.parametrize(("syntax", "table", "fragments"), [
    *itertools.product([JPEG2000Lossless, JPEGLSLossless], ["basic", "none"], [1, 3]),
    *itertools.product([RLELossless], ["basic", "none"], [1]),  # the standard has one fragment a frame here
    *itertools.product([JPEG2000Lossless, JPEGLSLossless, RLELossless], ["extended"], [1]),
])  # fmt: skip
def test_frames_in_fragments_with_each_kind_of_offset_table(make_series, reference_image, syntax, table, fragments):
    pixels = np.random.default_rng(8).integers(0, 60000, (4, 32, 36)).astype(np.uint16)
    series = make_series(pixels)
    series.write_enhanced([(k, pixels[k], 1, {}) for k in range(4)])
    path = series.folder / "enhanced"
    dataset = pydicom.dcmread(path)
    coded = frames_of(syntax, pixels)
    if table == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(coded)
    else:
        dataset.PixelData = encapsulate(coded, fragments_per_frame=fragments, has_bot=table == "basic")
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    np.testing.assert_array_equal(only(series).array, reference_image(series).get_fdata())


@pytest.mark.parametrize("kind", ["u", "i"])
def test_high_throughput_jpeg_2000(make_series, reference_image, kind):
    row, column = np.mgrid[:16, :20]
    plane = (37 * row + 11 * column) % 4096 if kind == "u" else 150 * row - 90 * column
    series = make_series(np.stack([plane] * 3).astype(f"{kind}2"))
    for k in range(3):
        dataset = series.dataset(k)
        dataset.PixelData = encapsulate([base64.b64decode(HTJ2K[kind])])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        series.folder.mkdir(parents=True, exist_ok=True)
        dataset.save_as(series.folder / f"s{k}", enforce_file_format=True)
    np.testing.assert_array_equal(only(series).array, reference_image(series).get_fdata())


def test_decoder_that_is_not_installed_is_named(make_series, monkeypatch):
    series = make_series(shape=(3, 8, 8)).write_all()
    recode(series.folder, "JPEGLosslessProcess14_1")
    decoder = pydicom.pixels.get_decoder(JPEGLosslessSV1)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(InputError) as error:
        read_series(series.folder)
    assert "no decoder for JPEG Lossless" in str(error.value)
    assert "pylibjpeg" in str(error.value)


@pytest.mark.parametrize(
    ("syntax", "named"), [("1.2.840.10008.1.2.4.100", "MPEG2"), ("1.2.840.10008.1.2.4.110", "4.110")]
)
def test_transfer_syntax_that_nothing_reads_is_named(make_series, tmp_path, syntax, named):
    series = make_series(shape=(3, 8, 8))
    for k in range(3):
        dataset = series.dataset(k)
        dataset.PixelData = encapsulate([b"\xff\x0a" + bytes(20)])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = HTJ2KLosslessRPCL
        series.folder.mkdir(parents=True, exist_ok=True)
        path = series.folder / f"s{k}"
        dataset.save_as(path, enforce_file_format=True)
        path.write_bytes(path.read_bytes().replace(HTJ2KLosslessRPCL.encode(), syntax.encode()))
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["failed"]
    assert re.search(f"no decoder for .*{named}", table.reason[0])
