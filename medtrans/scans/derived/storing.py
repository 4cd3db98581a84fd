"""Physical values as the integers of a DICOM image, with the slope and intercept that lead back to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.valuerep import format_number_as_ds

from medtrans.scans.intensity.values import AIR_HU

LEVELS = 32767  # of what is scaled: fits signed and unsigned readers


@dataclass(frozen=True)
class Stored:
    """One plane: value = stored · ``slope`` + ``intercept``.

    Attributes:
        pixels: (rows, columns), uint16 or int16.
        slope: None (and so the intercept) where stored values are the values.
        intercept: in the unit of the values.
    """

    pixels: np.ndarray
    slope: float | None = None
    intercept: float | None = None


def stored_ct(planes: np.ndarray) -> list[Stored]:
    """HU as unsigned integers from -1024 on, slope 1; what is below is cut off.

    Args:
        planes: (planes, rows, columns), HU.
    """
    pixels = (np.rint(plane - np.float32(AIR_HU)).clip(0, 65535).astype(np.uint16) for plane in planes)
    return [Stored(plane, 1.0, AIR_HU) for plane in pixels]


def stored_pet(planes: np.ndarray) -> list[Stored]:
    """Signed integers, with a slope of its own for every plane, and no intercept, as the standard has it."""
    return [_scaled(plane, _as_written(float(np.abs(plane).max()) / LEVELS), 0.0, np.int16) for plane in planes]


def stored_mr(planes: np.ndarray) -> list[Stored]:
    """Integers as they are where the values are integers, else by one slope and intercept for the whole series."""
    low, high = float(planes.min()), float(planes.max())
    if all(np.array_equal(plane, np.rint(plane)) for plane in planes):
        for dtype in (np.uint16, np.int16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return [Stored(plane.astype(dtype)) for plane in planes]
    intercept = _as_written(min(low, 0.0))
    slope = _as_written((high - intercept) / LEVELS)
    return [_scaled(plane, slope, intercept, np.uint16) for plane in planes]


def _scaled(plane: np.ndarray, slope: float, intercept: float, dtype: type[np.integer]) -> Stored:
    slope = slope or 1.0
    pixels = np.rint((plane.astype(np.float64) - intercept) / slope)
    return Stored(pixels.clip(0 if dtype is np.uint16 else -LEVELS, LEVELS).astype(dtype), slope, intercept)


def _as_written(value: float) -> float:
    """The number that a decimal string of 16 characters holds of ``value``: what readers will multiply by."""
    return float(format_number_as_ds(value))
