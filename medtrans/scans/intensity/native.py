"""Uncompressed pixels straight from their place in the file, without reading its header a second time."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

if TYPE_CHECKING:
    from medtrans.scans.export.headers import ScanFile

PIXEL_DATA = b"\xe0\x7f\x10\x00"


def place_of_pixels(stream: IO[bytes], dataset: FileDataset) -> tuple[int, int] | None:
    """Where uncompressed little-endian pixel data begin in a file and how many bytes they are; None for all others.

    Args:
        stream: the file, standing at its pixel data element, as :func:`pydicom.dcmread` leaves it.
        dataset: what was read from it.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID", "")
    implicit, little = dataset.original_encoding
    if syntax not in ("", ExplicitVRLittleEndian, ImplicitVRLittleEndian) or little is False:
        return None
    head = stream.read(12)
    if len(head) < 12 or head[:4] != PIXEL_DATA:
        return None
    if implicit:
        length, start = int.from_bytes(head[4:8], "little"), stream.tell() - 4
    elif head[4:6] in (b"OW", b"OB"):
        length, start = int.from_bytes(head[8:12], "little"), stream.tell()
    else:
        return None
    return (start, length) if length != 0xFFFFFFFF else None


def native_pixels(file: ScanFile) -> np.ndarray | None:
    """Stored values, (frames, rows, columns), of plain uncompressed grey pixels; None when they are anything else.

    What is no exact fit (missing or surplus bytes, anything after the pixels, one or twelve bits a value, colour, an
    incomplete description) is left to pydicom, which reads or refuses it.
    """
    needed = plain_bytes(file.tags)
    if file.pixels is None or not needed:
        return None
    start, length = file.pixels
    if length - needed not in (0, needed % 2) or file.path.stat().st_size != start + length:
        return None
    tags = file.tags
    kind, size = "i" if tags["PixelRepresentation"] == 1 else "u", int(tags["BitsAllocated"]) // 8
    pixels = np.fromfile(file.path, np.dtype(f"<{kind}{size}"), needed // size, offset=start)
    shape = int(tags.get("NumberOfFrames", 1)), int(tags["Rows"]), int(tags["Columns"])
    return pixels.reshape(shape) if pixels.size * size == needed else None


def plain_bytes(tags: dict[str, Any]) -> int | None:
    """How many bytes all pixels of a file take, uncompressed; None unless they are grey, of 8, 16 or 32 bits."""
    bits = int(tags.get("BitsAllocated", 0))
    if bits not in (8, 16, 32) or not _described(tags, bits):
        return None
    return int(tags.get("NumberOfFrames", 1)) * int(tags["Rows"]) * int(tags["Columns"]) * bits // 8


def _described(tags: dict[str, Any], bits: int) -> bool:
    """Whether the header says all that grey pixels need, with values that the standard knows."""
    return (
        tags.get("SamplesPerPixel") == 1
        and tags.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
        and tags.get("PixelRepresentation") in (0, 1)
        and 1 <= tags.get("BitsStored", 0) <= bits
    )
