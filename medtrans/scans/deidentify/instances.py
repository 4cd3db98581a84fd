"""One DICOM file de-identified: data set, file meta, preamble, and what else travels with pixels."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medtrans.errors import InputError
from medtrans.files import file_hash, written_whole
from medtrans.scans.deidentify.headers import Deidentifier, Tally
from medtrans.scans.deidentify.key import Whose

SUBJECT = "image"
WHOLE = "Leave it out, or clean it by hand"
# Objects of which the content is what would have to be read and cleaned (options 113103 and 113104, not done here)
CONTENT = {
    "ContentSequence": "structured report or key objects",
    "EncapsulatedDocument": "encapsulated document",
    "GraphicAnnotationSequence": "presentation state with graphics",
    "DirectoryRecordSequence": "DICOM directory",
    "HL7StructuredDocumentReferenceSequence": "clinical document",
}
COMMENT, APPLICATION = 0xFE, range(0xE0, 0xF0)  # JPEG markers of what is no picture
START_OF_SCAN, END = 0xDA, 0xD9
# Frames, tables, scans, restart intervals, numbers of lines, hierarchies; JPEG-LS frames and parameters
JPEG_SEGMENTS = {*range(0xC0, 0xD0), *range(0xDA, 0xE0), 0xF7, 0xF8} - {0xC8}
JPEG_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]", re.DOTALL)  # no stuffed byte, restart or fill
FAMILY = "1.2.840.10008.1.2.4."  # JPEG, JPEG-LS, JPEG 2000, JPEG XL, MPEG and H.264
JPEG = {f"{FAMILY}{number}" for number in range(50, 82)}
JPEG_2000 = {f"{FAMILY}{number}" for number in (90, 91, 92, 93, 201, 202, 203)}
J2K_COMMENT = 0x64
J2K_SEGMENTS = {*range(0x50, 0x64), *range(0x70, 0x7A)}  # of parts 1, 2 and 15
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def why_not(dataset: Dataset) -> str:
    """Why an object is not handed on: most of what it says is content that nobody has read. Empty where it is."""
    for keyword, name in CONTENT.items():
        if keyword in dataset:
            return f"{name}: its content is not cleaned here"
    if UID(str(dataset.get("SOPClassUID") or "")).is_private:
        return "private object: what it holds is known to its maker only"
    return ""


def write_copy(
    path: Path, target: Path, rules: Deidentifier, whose: Whose, tally: Tally, face: bool = False
) -> tuple[str, str]:
    """Write a de-identified copy of the file ``path`` to ``target``.

    Pixels are the same, voxel by voxel: they are not decoded. What else could travel with them goes: overlays in unused
    bits, comments within compressed frames, everything before and after the data set.

    Args:
        path: a DICOM file, with or without preamble.
        target: where to.
        rules: the profile.
        whose: pseudonyms.
        tally: counts what was done.
        face: whether the image may show one, to be marked so.

    Returns:
        The new SOPInstanceUID, and the SHA-256 of what was written.

    Raises:
        InputError: the file cannot be de-identified whole.
    """
    dataset = pydicom.dcmread(path, force=True)
    own: Tally = Counter()
    copy = deidentified(dataset, rules, whose, own, face)
    with written_whole(target) as temporary:
        copy.save_as(temporary, enforce_file_format=True)
        digest = file_hash(temporary)
    tally.update(own)
    return str(copy.SOPInstanceUID), digest


def deidentified(
    dataset: FileDataset, rules: Deidentifier, whose: Whose, tally: Tally, face: bool = False
) -> FileDataset:
    """``dataset``, changed in place, under new file meta that say nothing of where it came from.

    Raises:
        InputError: it has no SOP class or instance, or overlays lie within compressed pixels.
    """
    if not dataset.get("SOPClassUID") or not dataset.get("SOPInstanceUID"):
        raise InputError(SUBJECT, "has no SOPClassUID or SOPInstanceUID", "Export it again")
    syntax = _syntax(dataset)
    _cut_to_pixels(dataset, syntax)
    _clear_overlay_bits(dataset, syntax)
    _strip_comments(dataset, syntax)
    rules.header(dataset, whose, tally)
    if face:
        dataset.RecognizableVisualFeatures = "YES"
    for element in getattr(dataset, "file_meta", ()):
        if element.tag.element > 0x0013:  # AE titles, addresses, private information
            tally[f"({element.tag.group:04x},{element.tag.element:04x})", str(element.keyword), "removed"] += 1
    if any(getattr(dataset, "preamble", None) or b""):
        tally["–", "preamble", "emptied"] += 1
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128
    return dataset


def _syntax(dataset: FileDataset) -> UID:
    """The transfer syntax, of bare data sets as they were read."""
    stated = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if stated:
        return UID(stated)
    implicit, little = dataset.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _cut_to_pixels(dataset: Dataset, syntax: UID) -> None:
    """Take away what follows the last pixel of images that are not compressed."""
    keyword = next((name for name in PIXELS if name in dataset), None)
    if keyword is None or syntax not in NATIVE:
        return
    data = dataset[keyword].value or b""
    try:
        length = get_expected_length(dataset)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(SUBJECT, "does not say how many pixels it has", "Export it again") from error
    if dataset.BitsAllocated not in (1, 8, 16, 32, 64):
        raise InputError(SUBJECT, f"has pixels of {dataset.BitsAllocated} bits", WHOLE)
    if dataset.PhotometricInterpretation == "YBR_FULL_422" and len(data) >= length // 2 * 3:
        length = length // 2 * 3  # not halved, whatever is said
    swapped = syntax == ExplicitVRBigEndian  # pairs of 8-bit pixels may be: the last of an odd number is behind the pad
    cut = _even(data[: length + length % 2 * swapped])
    if cut != data:
        dataset[keyword].value = cut


def _clear_overlay_bits(dataset: Dataset, syntax: UID) -> None:
    """Old overlays lie in bits of the pixels that the image does not use; burned in, for whoever looks there."""
    positions = [
        dataset[tag].value
        for tag in dataset.keys()  # noqa: SIM118  iterating over a data set would decode all of it
        if tag.group & 0xFF00 == 0x6000 and tag.element == 0x0102
    ]
    if not any(positions) or "PixelData" not in dataset:
        return
    if syntax.is_compressed and not syntax.is_deflated:
        raise InputError(SUBJECT, "has overlays within compressed pixels", WHOLE)
    if dataset.BitsAllocated not in (8, 16, 32):
        raise InputError(SUBJECT, f"has overlays within pixels of {dataset.BitsAllocated} bits", WHOLE)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    unsigned = np.dtype(f"{order}u{dataset.BitsAllocated // 8}")
    stored, high = int(dataset.BitsStored), int(dataset.HighBit)
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    pixels = np.frombuffer(dataset.PixelData, unsigned) & unsigned.type(mask)
    if dataset.get("PixelRepresentation") and high + 1 < dataset.BitsAllocated:  # the sign, where readers expect it
        negative = (pixels >> unsigned.type(high)) & unsigned.type(1)
        above = ((1 << dataset.BitsAllocated) - 1) ^ ((1 << (high + 1)) - 1)
        pixels = pixels | negative * unsigned.type(above)
    dataset.PixelData = pixels.astype(unsigned).tobytes()


def _strip_comments(dataset: Dataset, syntax: UID) -> None:
    """Take comments and application data out of compressed frames, without decoding them."""
    if "PixelData" not in dataset or not syntax.startswith(FAMILY):
        return
    if syntax not in JPEG | JPEG_2000:
        raise InputError(SUBJECT, f"has pixels in {syntax.name}, which is not looked through here", WHOLE)
    number = int(dataset.get("NumberOfFrames") or 1)
    strip = _without_j2k_comments if syntax in JPEG_2000 else _without_jpeg_comments
    try:
        frames = [*generate_frames(dataset.PixelData, number_of_frames=number)]
        stripped = [strip(frame) for frame in frames]
    except InputError:
        raise
    except (ValueError, IndexError, RuntimeError) as error:
        raise InputError(SUBJECT, "has compressed pixels that cannot be read", "Export it again") from error
    clean = encapsulate(stripped, has_bot=sum(map(len, stripped)) + 8 * len(stripped) < 2**32)
    if clean != dataset.PixelData:  # also other fragments, and what lies between frames
        dataset.PixelData = clean
        dataset["PixelData"].is_undefined_length = True
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in dataset:
                del dataset[keyword]


def _without_jpeg_comments(frame: bytes) -> bytes:
    """A JPEG or JPEG-LS stream (ITU-T T.81 B.1, T.87 C.1) without comments, and without what follows its end."""
    if frame[:2] != b"\xff\xd8":
        raise ValueError("no JPEG stream")
    kept, at, in_scan = bytearray(frame[:2]), 2, False
    while True:
        marker = JPEG_MARKER.search(frame, at)
        if marker is None or (marker.start() > at and not in_scan and frame[at : marker.start()].strip(b"\xff")):
            raise ValueError("damaged stream")
        kept += frame[at : marker.start()] if in_scan else b""
        at, code = marker.start(), frame[marker.start() + 1]
        if code == END:
            return _even(bytes(kept) + b"\xff\xd9")
        segment = _segment(frame, at)
        if code in JPEG_SEGMENTS or _is_needed(segment):
            kept += segment
        elif code != COMMENT and code not in APPLICATION:
            raise ValueError("unknown segment")
        at, in_scan = at + len(segment), code == START_OF_SCAN


def _is_needed(segment: bytes) -> bool:
    """Whether it is the colour transform of Adobe, or of JPEG-LS, and nothing more: decoders look at these."""
    return (segment[:9], len(segment)) == (b"\xff\xee\0\x0eAdobe", 16) or (
        (segment[:8], len(segment)) == (b"\xff\xe8\0\x07mrfx", 9)
    )


def _without_j2k_comments(frame: bytes) -> bytes:
    """A JPEG 2000 codestream (ITU-T T.800 A.2) without comments in its main header and without what follows its end.

    Raises:
        InputError: there are comments in the headers of tiles, of which the lengths stand elsewhere, too.
    """
    start = frame.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise ValueError("no JPEG 2000 codestream")
    kept, at = bytearray(frame[start : start + 2]), start + 2
    while frame[at : at + 2] != b"\xff\x90":
        segment = _segment(frame, at)
        if segment[1] not in J2K_SEGMENTS and segment[1] != J2K_COMMENT:
            raise ValueError("unknown segment")
        kept += segment if segment[1] != J2K_COMMENT else b""
        at += len(segment)
    first = at
    while frame[at : at + 2] == b"\xff\x90":
        at = _end_of_tile(frame, at)
    if frame[at : at + 2] != b"\xff\xd9":
        raise ValueError("damaged stream")
    return _even(bytes(kept) + frame[first : at + 2])


def _end_of_tile(frame: bytes, at: int) -> int:
    """Where the part of a tile that begins at ``at`` ends."""
    length, head = int.from_bytes(frame[at + 6 : at + 10], "big"), at + 12
    while frame[head : head + 2] != b"\xff\x93":
        segment = _segment(frame, head)
        if segment[1] == J2K_COMMENT:
            raise InputError(SUBJECT, "has comments in the tiles of its compressed pixels", WHOLE)
        if segment[1] not in J2K_SEGMENTS:
            raise ValueError("unknown segment")
        head += len(segment)
    end = at + length if length else frame.find(b"\xff\xd9", head)
    if end < head:
        raise ValueError("damaged tile")
    return end


def _segment(frame: bytes, at: int) -> bytes:
    """The marker segment at ``at``, marker and length included."""
    size = 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    if frame[at : at + 1] != b"\xff" or size < 4 or at + size > len(frame):
        raise ValueError("damaged segment")
    return frame[at : at + size]


def _even(stream: bytes) -> bytes:
    return stream + b"\0" * (len(stream) % 2)
