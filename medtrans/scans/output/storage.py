"""How values are stored in a NIfTI file: 16-bit integers with one slope and intercept where that loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ROUNDING = 2 * float(np.finfo(np.float32).eps)  # of the slope in the header, and of the values themselves
LOWEST, HIGHEST = -32768, 32767


@dataclass(frozen=True)
class Storage:
    """What stands in the file for values: stored = (value - ``intercept``) / ``slope``.

    Attributes:
        dtype: int16, or float32 where integers cannot hold the values (slope 1, intercept 0 then).
        slope: as the header holds it, float32.
        intercept: likewise.
    """

    dtype: np.dtype
    slope: float = 1.0
    intercept: float = 0.0

    def planes(self, array: np.ndarray) -> Iterator[np.ndarray]:
        """What is stored of every plane (X, Y) of ``array``, in the order of the file: temporary arrays stay small."""
        for plane in _planes(array):
            yield self.stored(plane) if self.dtype == np.int16 else plane.astype(np.float32, copy=False)

    def stored(self, plane: np.ndarray) -> np.ndarray:
        """``plane`` as int16."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return plane.astype(np.int16)
        return np.rint((plane.astype(np.float64) - self.intercept) / self.slope).clip(LOWEST, HIGHEST).astype(np.int16)

    def comes_back(self, plane: np.ndarray) -> bool:
        """Whether reading what is stored of ``plane`` gives its values."""
        stored = self.stored(plane)
        if (self.slope, self.intercept) == (1.0, 0.0):
            return np.array_equal(stored, plane)
        back = stored * self.slope + self.intercept
        if self.slope == 1.0:
            return np.array_equal(back, plane)
        return bool((np.abs(back - plane) <= ROUNDING * np.maximum(np.abs(plane), abs(self.intercept))).all())


def storage_of(array: np.ndarray, scale: tuple[float, float] | None = None) -> Storage:
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
        if placed is not None:
            storage = Storage(np.dtype(np.int16), *placed)
            if all(map(storage.comes_back, _planes(array))):
                return storage
    return Storage(np.dtype(np.float32))


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


def _planes(array: np.ndarray) -> Iterator[np.ndarray]:
    """The planes (X, Y) of ``array``, in the order of a NIfTI file."""
    for place in np.ndindex(array.shape[:1:-1]):
        yield array[(slice(None), slice(None), *reversed(place))]
