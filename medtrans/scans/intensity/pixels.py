"""Stored pixels of frames, decoded once a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, get_decoder, pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
)

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.intensity.bits import meaningful
from medtrans.scans.intensity.decoding import decode_apart, frames_of
from medtrans.scans.intensity.native import native_pixels, plain_bytes

ALWAYS_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit}
MAYBE_LOSSY = {JPEGLSNearLossless, JPEG2000, HTJ2K}
LONGEST_REASON = 300  # characters of what a decoder says
PIXEL_TAGS = ("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns",
              "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
              "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable",
              "ExtendedOffsetTableLengths")  # fmt: skip


def decoded(file: ScanFile) -> np.ndarray:
    """Stored values of all frames (or mosaic tiles) of ``file``, shape (frames, rows, columns).

    Values that the header sends through a Modality LUT come after it.

    Raises:
        InputError: the pixel data are missing, cut short, or in a transfer syntax without decoder.
    """
    try:
        pixels = native_pixels(file)
        stored = meaningful(_by_pydicom(file) if pixels is None else pixels, file.tags, image_name(file))
        if len(stored) != (stated := int(file.tags.get("NumberOfFrames", 1))):
            raise ValueError(f"{len(stored)} frames stored, {stated} stated")
        if "ModalityLUTType" in file.tags:
            stored = _through_lut(file, stored)
    except InputError:
        raise
    except Exception as error:  # decoders raise RuntimeError, ValueError, AttributeError, NotImplementedError, ...
        raise _unreadable(file, error) from error
    if file.tiles > 1:
        rows, columns = stored.shape[1] // file.tiles, stored.shape[2] // file.tiles
        cut = stored[0].reshape(file.tiles, rows, file.tiles, columns)
        stored = cut.transpose(0, 2, 1, 3).reshape(-1, rows, columns)
    return stored


def _by_pydicom(file: ScanFile) -> np.ndarray:
    """Any pixels, (frames, rows, columns), through pydicom and its decoders."""
    syntax = UID(file.tags.get("TransferSyntax") or "")
    if syntax and syntax.is_encapsulated and syntax != RLELossless:
        if not get_decoder(syntax).is_available:
            raise RuntimeError("no decoder is installed")
        return decode_apart(file.path)
    refuse_cut_short(file)
    dataset = pydicom.dcmread(file.path, specific_tags=list(PIXEL_TAGS), force=True)
    if not syntax:  # no file meta: pydicom found out which of the two it is
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return frames_of(pixel_array(dataset, correct_unused_bits=False))


def _through_lut(file: ScanFile, stored: np.ndarray) -> np.ndarray:
    dataset = pydicom.dcmread(file.path, stop_before_pixels=True, force=True, specific_tags=["ModalityLUTSequence"])
    return apply_modality_lut(stored, dataset)


def _unreadable(file: ScanFile, error: Exception) -> InputError:
    """What to tell of pixels that no decoder read; a decoder that is not installed is named."""
    syntax = UID(file.tags.get("TransferSyntax") or "")
    missing = _missing_decoders(syntax)
    if missing:
        problem = f"no decoder for {syntax.name} ({'; '.join(missing)})"
        return InputError(image_name(file), problem, "Install one of these, or export uncompressed")
    reason = " ".join(str(error).split()).replace(str(file.path), "the file") or type(error).__name__
    problem = f"pixel data cannot be read ({syntax.name or 'no transfer syntax'}; {reason[:LONGEST_REASON]})"
    return InputError(image_name(file), problem, "Export this image again")


def _missing_decoders(syntax: UID) -> list[str]:
    """What would have to be installed to read a transfer syntax; empty when something is, or when none is stated."""
    if not syntax or (syntax.is_transfer_syntax and not syntax.is_compressed):
        return []
    try:
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError):
        return ["there is none"]
    return [] if decoder.is_available else list(decoder.missing_dependencies)


def image_name(file: ScanFile) -> str:
    """The image as its operator knows it, without patient data and file names."""
    return f"image {int(file.tags.get('InstanceNumber', 0))} of series {int(file.tags.get('SeriesNumber', 0))}"


def lossy(tags: dict[str, Any]) -> list[str]:
    """A warning when pixels were compressed with loss, by the header or the transfer syntax, or may have been."""
    syntax, stated = tags.get("TransferSyntax"), str(tags.get("LossyImageCompression", ""))
    if stated.endswith("1") or syntax in ALWAYS_LOSSY:
        return ["was compressed with loss: values are not the scanner's"]
    if syntax in MAYBE_LOSSY and not stated.endswith("0"):
        return [f"may have been compressed with loss ({UID(syntax).name}): LossyImageCompression does not say"]
    return []


def refuse_cut_short(file: ScanFile) -> None:
    """Refuse a file that holds fewer bytes of uncompressed pixels than its header describes, without reading them.

    Raises:
        InputError: it does.
    """
    if file.pixels is None:
        return
    start, length = file.pixels
    needed = plain_bytes(file.tags) or length
    there = min(length, file.path.stat().st_size - start)
    if there < needed:
        raise InputError(
            image_name(file), f"pixel data are cut short ({there} of {needed} bytes)", "Export this image again"
        )


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
