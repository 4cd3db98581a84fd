"""Ways of damaging a file: ``(its bytes, a source of chance, length of its header) -> other bytes``."""

from __future__ import annotations

import io
import random
import struct

import pydicom

NUMBERS = ["0", "-1", "1e400", "nan", "inf", "1,5", "", "abc", "1\\2", "999999999999", "0.0001", "-0", "1e-30", "65535"]
KEYWORDS = [
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope",
    "RescaleIntercept", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ImageType", "Modality",
    "SliceThickness", "PixelPaddingValue", "EchoTime", "AcquisitionNumber", "FrameOfReferenceUID", "Units",
    "SpacingBetweenSlices", "SpecificCharacterSet", "PatientID", "StudyInstanceUID", "SeriesNumber", "PixelData",
    "TemporalPositionIdentifier", "PatientName", "Manufacturer", "SeriesDescription", "AcquisitionTime",
]  # fmt: skip


def flip(data: bytes, chance: random.Random, header: int) -> bytes:
    """A few random bytes of the header (sometimes anywhere) changed."""
    end = header if chance.random() < 0.8 else len(data)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        changed[chance.randrange(max(end, 1))] = chance.randrange(256)
    return bytes(changed)


def cut(data: bytes, chance: random.Random, header: int) -> bytes:
    """Cut short: in the header, or anywhere."""
    return data[: chance.randrange(header if chance.random() < 0.4 else len(data))]


def splice(data: bytes, chance: random.Random, header: int) -> bytes:
    """Bytes removed, repeated, zeroed or put in."""
    start = chance.randrange(len(data))
    length = chance.choice((1, 2, 8, 64, 512))
    piece = data[start : start + length]
    new = chance.choice((b"", piece * 2, bytes(len(piece)), chance.randbytes(length), b"\xff" * len(piece)))
    return data[:start] + new + data[start + length :]


def stretch(data: bytes, chance: random.Random, header: int) -> bytes:
    """A 16- or 32-bit field of the header set to an extreme number, as a length or count would be."""
    size, form = chance.choice(((2, "H"), (4, "I")))
    start = chance.randrange(0, max(header - size, 1))
    value = chance.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, header, len(data)))
    order = chance.choice("<>")
    return data[:start] + struct.pack(order + form, value % 2 ** (8 * size)) + data[start + size :]


def retag(data: bytes, chance: random.Random, header: int) -> bytes:
    """A DICOM value replaced, emptied, removed, multiplied, or put into another place of the file."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    keyword = chance.choice([word for word in KEYWORDS if word in dataset] or ["PatientID"])
    if keyword not in dataset or chance.random() < 0.2:
        if keyword in dataset:
            del dataset[keyword]
    else:
        _damage_value(dataset, keyword, chance)
    if chance.random() < 0.1:
        dataset.file_meta.TransferSyntaxUID = chance.choice(
            ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3", ""]
        )
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=False)
    return out.getvalue()


def _damage_value(dataset: pydicom.Dataset, keyword: str, chance: random.Random) -> None:
    element = dataset[keyword]
    if isinstance(element.value, int):
        element._value = chance.choice((0, 1, 2, 7, 12, 16, 255, 65535, element.value + 1, max(element.value - 1, 0)))
        return
    if element.VR in ("OW", "OB", "OF", "OD"):
        element._value = chance.choice((b"", element.value[:-2], element.value * 2, element.value[:2]))
        return
    parts = str(element.value).strip("[]").replace("'", "").split(", ")
    parts[chance.randrange(len(parts))] = chance.choice(NUMBERS)
    if chance.random() < 0.2:
        parts = parts[:-1] if chance.random() < 0.5 else [*parts, parts[0]]
    raw = "\\".join(parts).encode()
    dataset[keyword] = pydicom.dataelem.RawDataElement(element.tag, element.VR, len(raw), raw, 0, False, True)


def swap(data: bytes, chance: random.Random, header: int) -> bytes:
    """A piece of the file moved elsewhere in it."""
    first, second = sorted(chance.randrange(len(data)) for _ in range(2))
    size = chance.choice((2, 8, 100))
    return data[:first] + data[second : second + size] + data[first + size : second] + data[first : first + size] + \
        data[second + size :]  # fmt: skip


DAMAGES = [flip, flip, cut, splice, stretch, retag, retag, retag, swap]
