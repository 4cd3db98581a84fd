"""Stored pixels of frames, decoded once a file, and their physical values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID

from medtrans.errors import InputError
from medtrans.scans.frames import Frame
from medtrans.scans.headers import ScanFile

PIXEL_TAGS = ("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns",
              "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
              "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable",
              "ExtendedOffsetTableLengths")  # fmt: skip
AIR_HU = -1024.0  # stands for "outside the scanner's field of view" in CT


def decoded(file: ScanFile) -> np.ndarray:
    """Stored values of all frames (or mosaic tiles) of ``file``, shape (frames, rows, columns).

    Raises:
        InputError: the pixel data are missing, cut short, or in a transfer syntax without decoder.
    """
    try:
        dataset = pydicom.dcmread(file.path, specific_tags=list(PIXEL_TAGS), force=True)
        if not file.tags.get("TransferSyntax"):  # no file meta: pydicom found out which of the two it is
            implicit = dataset.original_encoding[0]
            dataset.file_meta.TransferSyntaxUID = (
                pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian
            )
        pixels = dataset.pixel_array
    except Exception as error:  # decoders raise RuntimeError, ValueError, AttributeError, NotImplementedError, ...
        syntax = UID(file.tags.get("TransferSyntax") or "").name or "no transfer syntax"
        reason = str(error).splitlines()[0].replace(str(file.path), "the file")
        raise InputError(
            image_name(file), f"pixel data cannot be read ({syntax}; {reason})", "Export this image again"
        ) from error
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    if file.tiles > 1:
        rows, columns = pixels.shape[1] // file.tiles, pixels.shape[2] // file.tiles
        cut = pixels[0].reshape(file.tiles, rows, file.tiles, columns)
        pixels = cut.transpose(0, 2, 1, 3).reshape(-1, rows, columns)
    return pixels


def image_name(file: ScanFile) -> str:
    """The image as its operator knows it, without patient data and file names."""
    return f"image {int(file.tags.get('InstanceNumber', 0))} of series {int(file.tags.get('SeriesNumber', 0))}"


def stored_planes(frames: Iterable[Frame]) -> Iterator[tuple[Frame, np.ndarray]]:
    """Every frame with its stored values (rows, columns), each file decoded once, in the order of the files."""
    by_file: dict[int, list[Frame]] = {}
    for frame in frames:
        by_file.setdefault(id(frame.file), []).append(frame)
    for group in by_file.values():
        pixels = decoded(group[0].file)
        for frame in group:
            if frame.index >= len(pixels):
                raise InputError(
                    image_name(frame.file),
                    f"has pixel data for {len(pixels)} frames, its header describes more",
                    "Export this image again",
                )
            yield frame, pixels[frame.index]


def fingerprint(frame: Frame, stored: np.ndarray) -> str:
    """Equal for two frames that show the same physical values."""
    digest = hashlib.sha256(np.ascontiguousarray(stored).tobytes())
    digest.update(repr((stored.dtype.kind, stored.shape, frame.rescale)).encode())
    return digest.hexdigest()


def padding_range(tags: dict[str, Any], dtype: np.dtype) -> tuple[int, int] | None:
    """Smallest and largest stored value that stand for "no data", None when the header names none.

    Headers often give the value with the wrong sign for their pixel representation (63536 for -2000).
    """
    value = tags.get("PixelPaddingValue")
    if not isinstance(value, (int, float)) or dtype.kind not in "iu":
        return None
    limit = tags.get("PixelPaddingRangeLimit")
    limit = limit if isinstance(limit, (int, float)) else value
    values = [int(v) for v in (value, limit)]
    bits, signed = 8 * dtype.itemsize, dtype.kind == "i"
    bits = int(tags.get("BitsAllocated", bits))
    for number, v in enumerate(values):
        if signed and v >= 2 ** (bits - 1):
            values[number] = v - 2**bits
        if not signed and v < 0:
            values[number] = v + 2**bits
    return min(values), max(values)


@dataclass
class Rescaler:
    """Stored to physical values, with padding replaced by the modality's background; counts what it replaced."""

    background: float
    padded: int = 0
    exact: bool = True  # whether all values are integers so far

    def __call__(self, frame: Frame, stored: np.ndarray) -> np.ndarray:
        """Physical values, float32, shape of ``stored``.

        Raises:
            InputError: the rescale slope is 0 or a value is not finite.
        """
        slope, intercept = frame.rescale
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise InputError(
                image_name(frame.file),
                f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} give no values",
                "Export this image again",
            )
        whole = stored.dtype.kind in "iub" and slope == int(slope) and intercept == int(intercept)
        self.exact = self.exact and whole
        physical = stored.astype(np.float64) * slope + intercept
        padding = padding_range(frame.tags, stored.dtype)
        if padding is not None:
            mask = (stored >= padding[0]) & (stored <= padding[1])
            self.padded += int(np.count_nonzero(mask))
            physical[mask] = self.background
        if not np.isfinite(physical).all():
            raise InputError(image_name(frame.file), "has values that are not finite", "Export this image again")
        return physical.astype(np.float32)
