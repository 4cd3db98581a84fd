"""Stored values from the bits that the header declares: sign, unused high bits, misplaced high bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrans.errors import InputError


def meaningful(stored: np.ndarray, tags: dict[str, Any], name: str) -> np.ndarray:
    """The values that BitsStored, HighBit and PixelRepresentation make of integer pixels.

    Bits above BitsStored are dropped where the header says that they hold an overlay (PS3.5 section 8.1.1 of 2004;
    retired), and where they leave the sign out. Values beyond BitsStored stay when they are the declared padding;
    what else does not fit cannot be told from noise, and is refused.

    Args:
        stored: integers as they lie in the file, any shape.
        tags: of the file.
        name: of the image, for messages.

    Raises:
        InputError: bits lie where the header does not have them.
    """
    bits = int(tags.get("BitsStored") or 8 * stored.dtype.itemsize)
    if stored.dtype.kind not in "iu" or bits >= 8 * stored.dtype.itemsize or not stored.size:
        return stored
    unused = int(tags.get("HighBit", bits - 1)) + 1 - bits
    if unused > 0:
        return _moved(stored, bits, unused, name)
    low, high = int(stored.min()), int(stored.max())
    if stored.dtype.kind == "u":
        return stored if high < 1 << bits else _without_high_bits(stored, bits, tags, name)
    if -(1 << bits - 1) <= low and high < 1 << bits - 1:
        return stored
    if low >= 0 and high < 1 << bits:  # the sign bit was not carried on to the high bits
        shift = 8 * stored.dtype.itemsize - bits
        return (stored << shift) >> shift
    return _without_high_bits(stored, bits, tags, name)


def _moved(stored: np.ndarray, bits: int, unused: int, name: str) -> np.ndarray:
    """HighBit above BitsStored - 1: the values lie where it says, or the header is wrong and they lie at the bottom."""
    if not (stored & ((1 << unused) - 1)).any():
        return stored >> unused
    if stored.dtype.kind == "u" and int(stored.max()) < 1 << bits:
        return stored
    raise InputError(
        name, f"its values fit neither HighBit {bits + unused - 1} nor BitsStored {bits}", "Export this image again"
    )


def _without_high_bits(stored: np.ndarray, bits: int, tags: dict[str, Any], name: str) -> np.ndarray:
    spare = 8 * stored.dtype.itemsize - bits
    low = (stored << spare) >> spare
    if int(tags.get("OverlayBitPosition", 0)) >= bits:
        return low
    beyond = stored != low
    padding = padding_range(tags, stored.dtype)
    if padding is not None:
        beyond &= (stored < padding[0]) | (stored > padding[1])
    if not beyond.any():
        return stored
    raise InputError(
        name, f"{np.count_nonzero(beyond)} of its values do not fit BitsStored {bits}", "Export this image again"
    )


def padding_range(tags: dict[str, Any], dtype: np.dtype) -> tuple[float, float] | None:
    """Smallest and largest stored value that stand for "no data", None when the header names none.

    Headers often give the value with the wrong sign for their pixel representation (63536 for -2000).
    """
    if dtype.kind == "f":
        names = ("DoubleFloatPixelPaddingValue", "FloatPixelPaddingValue")
        name = next((name for name in names if isinstance(tags.get(name), float)), "")
        ends = [tags[name], tags.get(name.replace("Value", "RangeLimit"), tags[name])] if name else []
        return (min(ends), max(ends)) if ends else None
    value = tags.get("PixelPaddingValue")
    if not isinstance(value, (int, float)) or dtype.kind not in "iu":
        return None
    limit = tags.get("PixelPaddingRangeLimit")
    limit = limit if isinstance(limit, (int, float)) else value
    bits, signed = int(tags.get("BitsAllocated", 8 * dtype.itemsize)), dtype.kind == "i"
    values = [_in_sign(int(v), bits, signed) for v in (value, limit)]
    return min(values), max(values)


def _in_sign(value: int, bits: int, signed: bool) -> int:
    if signed and value >= 1 << bits - 1:
        return value - (1 << bits)
    return value + (1 << bits) if not signed and value < 0 else value
