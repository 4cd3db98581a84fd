"""What counts as a whole image: all UIDs, and as many bytes of pixels as rows, columns, frames and bits come to."""

from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComprehensiveSRStorage, CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from medtrans.scans.dicomweb.completeness import is_incomplete


def image(frames=1, **tags):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.Rows, made.Columns, made.NumberOfFrames = 5, 7, frames
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 0, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = np.arange(35 * frames, dtype="<u2").tobytes()
    made["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        setattr(made, keyword, value)
    return made


def content(made):
    stream = BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("cut", [1, 2, 69, 70])
def test_pixels_cut_off_are_missed(frames, cut):
    made = content(image(frames))
    assert not is_incomplete(pydicom.dcmread(BytesIO(made)))
    assert is_incomplete(pydicom.dcmread(BytesIO(made[:-cut])))


def test_a_header_without_its_pixels_is_incomplete():
    made = image()
    del made.PixelData
    assert is_incomplete(made)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_image_without_a_uid_is_incomplete(keyword):
    made = image()
    setattr(made, keyword, "")
    assert is_incomplete(made)
    del made[keyword]
    assert is_incomplete(made)


def test_colours_count():
    made = image(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, PixelData=bytes(210))
    assert not is_incomplete(made)
    made.PixelData = bytes(208)
    assert is_incomplete(made)


def test_compressed_pixels_end_with_a_mark():
    made = image()
    made.compress(RLELossless, generate_instance_uid=False)
    whole = content(made)
    assert not is_incomplete(pydicom.dcmread(BytesIO(whole)))
    assert is_incomplete(pydicom.dcmread(BytesIO(whole[:-8])))


def test_a_report_needs_no_pixels():
    report = Dataset()
    report.SOPClassUID = ComprehensiveSRStorage
    report.StudyInstanceUID, report.SeriesInstanceUID = generate_uid(), generate_uid()
    report.SOPInstanceUID = generate_uid()
    assert not is_incomplete(report)
