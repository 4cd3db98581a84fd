"""An image with identifying values in every place that DICOM has for them, and a search for them in bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from medtrans.scans.deidentify.headers import Deidentifier
from medtrans.scans.deidentify.key import Key, Whose
from medtrans.scans.deidentify.profile import Choices

WHOSE = Whose("Xylander-4711", "patient-001", "study-01")


def _item(**tags) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def _image(**tags) -> FileDataset:
    """A small MR image without any identifying value but the names of things."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": MRImageStorage, "SOPInstanceUID": generate_uid(), "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), "Modality": "MR",
        "PatientName": "Xylander^Quirin", "PatientID": "Xylander-4711", "StudyDate": "20200102",
        "StudyTime": "101500", "SeriesNumber": 3, "InstanceNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1],
        "SliceThickness": 1, "Rows": 4, "Columns": 4, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "Manufacturer": "SIEMENS",
    } | tags  # fmt: skip
    for keyword, value in values.items():
        setattr(image, keyword, value)
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.PixelData = np.arange(16, dtype="<u2").tobytes()
    return image


def _holds(data: bytes | Path, text: str) -> bool:
    """Whether the bytes of a file or folder have ``text``, in capitals or not, in one byte a letter or two."""
    if isinstance(data, Path):
        return any(_holds(path.read_bytes(), text) for path in data.rglob("*") if path.is_file()) or any(
            text.casefold() in path.name.casefold() for path in data.rglob("*")
        )
    lower = data.lower()
    return any(text.lower().encode(code) in lower for code in ("utf-8", "latin-1", "utf-16-le"))


@pytest.fixture
def item():
    return _item


@pytest.fixture
def image():
    return _image


@pytest.fixture
def holds():
    return _holds


@pytest.fixture
def whose():
    return WHOSE


@pytest.fixture
def rules(tmp_path):
    """``rules(*retain, dates="shift", salt=0)``: a de-identifier with a key of its own."""

    def make(*retain, dates="shift", salt=0) -> Deidentifier:
        path = tmp_path / f"key-{salt}.json"
        path.write_text(json.dumps({"salt": f"{salt:032d}", "names": {}}))
        return Deidentifier(Key(path), Choices(frozenset(retain), dates))

    return make


@pytest.fixture
def nested():
    """``nested(dataset, keyword, depth)``: a sequence that holds ``dataset``, in as many others as ``depth`` says."""

    def wrap(dataset, keyword="ReferencedImageSequence", depth=1) -> Dataset:
        for _ in range(depth):
            outer = Dataset()
            setattr(outer, keyword, Sequence([dataset]))
            dataset = outer
        return dataset

    return wrap
