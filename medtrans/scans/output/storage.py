"""How values are stored in a NIfTI file: 16-bit integers with one slope and intercept where that loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ROUNDING = 2 * float(np.finfo(np.float32).eps)  # of the slope in the header, and of the values themselves
LOWEST, HIGHEST = -32768, 32767


@dataclass(frozen=True)
class Stored:
    """What stands in the file: value = ``array`` * ``slope`` + ``intercept``.

    Attributes:
        array: int16, or float32 where integers cannot hold the values (slope 1, intercept 0); Fortran order.
        slope: as the header holds it, float32.
        intercept: likewise.
    """

    array: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0


def stored(array: np.ndarray, scale: tuple[float, float] | None = None) -> Stored:
    """int16 if reading it back gives ``array``, else float32.

    Integers come back exactly, with slope 1 (and an intercept where they run past 32767); other values within twice
    the rounding of float32 (ROUNDING of the value or the intercept, whichever is larger).

    Args:
        array: float32, finite, (X, Y, Z) or (X, Y, Z, T).
        scale: slope and intercept that made the values out of integers, where one pair holds for all.
    """
    low, high = float(array.min()), float(array.max())
    for slope, intercept in [(1.0, 0.0), *([scale] if scale else [])]:
        placed = _placed(low, high, float(np.float32(slope)), float(np.float32(intercept)))
        integers = None if placed is None else _integers(array, *placed)
        if placed is not None and integers is not None:
            return Stored(integers, *placed)
    return Stored(np.asfortranarray(array, np.float32))


def _placed(low: float, high: float, slope: float, intercept: float) -> tuple[float, float] | None:
    """The scale with its intercept moved so that int16 reaches all values; None where it cannot."""
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        return None
    first, last = sorted(np.rint((value - intercept) / slope) for value in (low, high))
    if first >= LOWEST and last <= HIGHEST:
        return slope, intercept
    if not last - first <= HIGHEST - LOWEST:
        return None
    shift = -LOWEST if first >= 0 and last <= HIGHEST - LOWEST else first - LOWEST
    return slope, float(np.float32(intercept + shift * slope))


def _integers(array: np.ndarray, slope: float, intercept: float) -> np.ndarray | None:
    """``array`` as int16 by this scale; None as soon as a plane would not come back."""
    integers = np.empty(array.shape, np.int16, order="F")
    for plane, target in _planes(array, integers):
        if (slope, intercept) == (1.0, 0.0):
            target[...] = plane
            back: np.ndarray = target
        else:
            whole = np.rint((plane.astype(np.float64) - intercept) / slope).clip(LOWEST, HIGHEST)
            target[...] = whole
            back = whole * slope + intercept
        if slope == 1.0:
            if not np.array_equal(back, plane):
                return None
        elif (np.abs(back - plane) > ROUNDING * np.maximum(np.abs(plane), abs(intercept))).any():
            return None
    return integers


def _planes(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The same plane of every array, one after another: temporary arrays stay small."""
    for place in np.ndindex(arrays[0].shape[2:]):
        yield tuple(array[(slice(None), slice(None), *place)] for array in arrays)
