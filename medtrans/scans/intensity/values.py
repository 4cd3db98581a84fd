"""From stored pixels to physical values: rescaling frame by frame, padding, Philips' two scales."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.bits import padding_range
from medtrans.scans.intensity.pixels import image_name

AIR_HU = -1024.0  # stands for "outside the scanner's field of view" in CT
DISPLAY = "DICOM RescaleSlope and RescaleIntercept, per image"
PRECISE = "Philips' private scale: (stored * RescaleSlope + RescaleIntercept) / (RescaleSlope * (2005,100E)), per image"
MAPPED = "DICOM RealWorldValueSlope and RealWorldValueIntercept, per image"
TISSUE_HU = -900.0, 3072.0  # what lies between is measured, whatever the header calls it
EXACT = 2.0**24  # integers up to here are float32 numbers


def is_philips_mr(tags: dict[str, Any]) -> bool:
    """Whether the image has a second, private scale (or had one before it was de-identified)."""
    return tags.get("Modality") == "MR" and "philips" in str(tags.get("Manufacturer", "")).lower()


@dataclass
class Rescaler:
    """Stored to physical values, with padding replaced by the modality's background; counts what it replaced.

    Attributes:
        background: what stands for "no data", in physical units.
        philips_scale: of Philips MR, ``display`` or ``precise``; see :class:`medtrans.scans.Conversion`.
        padded: voxels replaced so far.
        scales: the slopes and intercepts used so far.
        doubted: HU of a declared padding value that is tissue as well, and was left alone.
        floor: what lower values are raised to, None for leaving them: padding that no header declares must not be
            mixed with what was measured.
        lowest: the lowest value so far, before it was raised.
    """

    background: float
    philips_scale: str = "display"
    padded: int = 0
    scales: set[tuple[float, float]] = field(default_factory=set)
    doubted: set[float] = field(default_factory=set)
    floor: float | None = None
    lowest: float = np.inf

    def __call__(self, frame: Frame, stored: np.ndarray) -> np.ndarray:
        """Physical values, float32, shape of ``stored``; at most 2e-7 off, relative, what float64 gives.

        Raises:
            InputError: the rescale slope is 0, a value is not finite, or the scale asked for is not in the header.
        """
        slope, intercept = self.scale(frame)
        self.scales.add((slope, intercept))
        physical = _scaled(stored, slope, intercept)
        padding = self._padding(frame, stored.dtype, slope, intercept)
        if padding is not None:
            mask = (stored >= padding[0]) & (stored <= padding[1])
            self.padded += int(np.count_nonzero(mask))
            physical[mask] = self.background
        if stored.dtype.kind not in "iu" and not np.isfinite(physical).all():
            raise InputError(image_name(frame.file), "has values that are not finite", "Export this image again")
        if self.floor is not None:
            self.lowest = min(self.lowest, float(physical.min()))
            np.maximum(physical, self.floor, out=physical)
        return physical

    def _padding(self, frame: Frame, dtype: np.dtype, slope: float, intercept: float) -> tuple[float, float] | None:
        """Stored values to replace. A CT whose padding value is tissue too has it in its header by mistake."""
        padding = padding_range(frame.tags, dtype) if "ModalityLUTType" not in frame.tags else None
        if padding is None or self.background != AIR_HU:
            return padding
        tissue = [hu for hu in (end * slope + intercept for end in padding) if TISSUE_HU[0] < hu < TISSUE_HU[1]]
        self.doubted.update(tissue)
        return None if tissue else padding

    def warnings(self) -> list[str]:
        """What the user should know about the values that were made."""
        told = [f"PixelPaddingValue stands for {hu:g} HU, which is tissue too: left as it is"
                for hu in sorted(self.doubted)]  # fmt: skip
        if self.floor is not None and self.lowest < self.floor:
            told.append(
                f"values down to {self.lowest:g} HU (padding the header does not declare?) "
                f"raised to {self.floor:g} before interpolating"
            )
        return told

    def scale(self, frame: Frame) -> tuple[float, float]:
        """Slope and intercept for one frame."""
        slope, intercept = frame.rescale
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise InputError(
                image_name(frame.file),
                f"RescaleSlope {slope:g} and RescaleIntercept {intercept:g} give no values",
                "Export this image again",
            )
        if self.philips_scale == "display" or not is_philips_mr(frame.tags):
            return slope, intercept
        scale_slope = frame.tags.get("PhilipsScaleSlope")
        if not scale_slope:
            raise InputError(
                image_name(frame.file),
                "has no private scale slope (2005,100E), often removed by anonymisation: no precise values",
                "Use --philips-scale display",
            )
        return 1 / scale_slope, intercept / (slope * scale_slope)

    @property
    def stored_scale(self) -> tuple[float, float] | None:
        """The one slope and intercept that made all values, padding included, out of integers; None without one."""
        if len(self.scales) != 1:
            return None
        slope, intercept = next(iter(self.scales))
        return (slope, intercept) if not self.padded or ((self.background - intercept) / slope) % 1 == 0 else None

    def recorded(self, frames: list[Frame]) -> dict[str, Any]:
        """What the sidecar says about the scale; names as dcm2niix has them."""
        if all(frame.tags.get("RealWorldValues") for frame in frames):
            return {"rescale": MAPPED}
        if not is_philips_mr(frames[0].tags):
            return {"rescale": DISPLAY}
        precise = self.philips_scale == "precise"
        recorded: dict[str, Any] = {
            "rescale": PRECISE if precise else DISPLAY,
            "UsePhilipsFloatNotDisplayScaling": int(precise),
        }
        factors = {"PhilipsRescaleSlope": "RescaleSlope", "PhilipsRescaleIntercept": "RescaleIntercept",
                   "PhilipsScaleSlope": "PhilipsScaleSlope"}  # fmt: skip
        for name, tag in factors.items():
            values = {frame.tags.get(tag) for frame in frames}
            if len(values) == 1 and None not in values:
                recorded[name] = values.pop()
        return recorded


def _scaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """``stored * slope + intercept`` as float32; by way of float64 only where float32 would round twice."""
    whole = slope == int(slope) and intercept == int(intercept)
    if whole and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        largest = 2.0 ** (8 * stored.dtype.itemsize) * abs(slope) + abs(intercept)
        if largest < EXACT:
            physical = stored.astype(np.float32)
            if slope != 1:
                physical *= np.float32(slope)
            if intercept:
                physical += np.float32(intercept)
            return physical
    with np.errstate(over="ignore"):  # infinite values are refused by the caller
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)
