"""One image plane: where it lies in the patient, how its stored values become physical ones, what it belongs to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from medtrans.scans.export.headers import ScanFile

SMALLEST_SPACING = 1e-4  # mm; less is no scanner's
# What must agree within one volume, besides matrix, orientation, pixel spacing and the meaning of ImageType.
KIND = ("Modality", "ComplexImageComponent", "GEComponent", "StackID", "Units", "RescaleType")
# Words of ImageType that say what the values mean; others (NORM, DIS2D, ...) may change from slice to slice.
MEANING = re.compile(
    r"[MPRI](_(FFE|SE|IR|TSE|B0|B1|PCA|EPI|MIXED))?|MAGNITUDE|PHASE( MAP)?|REAL|IMAGINARY|VELOCITY( MAP)?|"
    r"W|F|IP|OP|WATER|FAT|(IN|OUT|OPP)[_ -]?PHASE|OPPOSED[_ -]?PHASE|FAT_?FRACTION|"
    r"E?ADC(_.*)?|TRACEW?|FA|DIFFUSION|TENSOR.*|EXP|[TR][12]\*?([_ ](MAP|STAR))?.*|[BC]BF|[BC]BV|MTT|TTP|TMAX|PBP|"
    r"MIP|MINIP|MPR|PROJECTION IMAGE|MEAN|SUB(TRACTION)?|DIXON.*|LOCALIZER|SCOUT|.*KEV|.*KV|VNC|IODINE.*|Z_?EFF.*",
)
SAME_MEANING = {"MAGNITUDE": "M", "PHASE": "P", "REAL": "R", "IMAGINARY": "I"}


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image plane of a file; its pixels stay there.

    Attributes:
        file: the file it is in.
        index: its number among the file's frames, or mosaic tiles, from 0.
        position: LPS position in mm of the centre of the first pixel, None when unknown.
        orientation: direction cosines along a row, then down a column (LPS), None when unknown.
        spacing: mm between rows, then between columns (the order of PixelSpacing), None when unknown.
        tags: the DICOM values that hold for this frame, functional groups merged over the file's.
    """

    file: ScanFile
    index: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    tags: dict[str, Any]

    @classmethod
    def of_tags(cls, file: ScanFile, index: int, tags: dict[str, Any]) -> Frame:
        """The frame that ``tags`` describe; geometry that is incomplete or not finite counts as unknown."""
        return cls(
            file,
            index,
            _numbers(tags.get("ImagePositionPatient"), 3),
            _unit_vectors(_numbers(tags.get("ImageOrientationPatient"), 6)),
            _positive(_numbers(tags.get("PixelSpacing"), 2)),
            tags,
        )

    @property
    def has_geometry(self) -> bool:
        """Whether the plane can be placed in the patient."""
        return self.position is not None and self.orientation is not None and self.spacing is not None

    @property
    def normal(self) -> np.ndarray:
        """Unit vector, LPS, that completes row and column direction to a right-handed system."""
        assert self.orientation is not None
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept from stored to physical values; (1, 0) when the header has none."""
        return float(self.tags.get("RescaleSlope", 1.0)), float(self.tags.get("RescaleIntercept", 0.0))

    @property
    def kind(self) -> tuple[Any, ...]:
        """What must be equal in one volume."""
        values = {name: self.tags.get(name) for name in KIND}
        if values["RescaleType"] in (None, "US"):  # unspecified
            values["RescaleType"] = "HU" if values["Modality"] == "CT" else None  # PS3.3 C.8.2.1: unless stated
        return (self.meaning, *(str(value) if value is not None else "" for value in values.values()))

    @property
    def meaning(self) -> tuple[str, ...]:
        """The words of ImageType that say what the values mean: magnitude or phase, water or fat, ADC, ..."""
        words = [str(word).upper().strip() for word in self.tags.get("ImageType", ())[2:]]
        return tuple(sorted({SAME_MEANING.get(word, word) for word in words if MEANING.fullmatch(word)}))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns of this plane (of one tile, in a mosaic)."""
        return int(self.tags["Rows"]) // self.file.tiles, int(self.tags["Columns"]) // self.file.tiles


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, tuple) or len(value) != count or any(isinstance(v, str) or v is None for v in value):
        return None
    return tuple(float(v) for v in value) if all(math.isfinite(v) for v in value) else None


def _positive(value: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return value if value is not None and min(value) > SMALLEST_SPACING else None


def _unit_vectors(value: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Row and column direction at length 1; None when they are not two perpendicular directions."""
    if value is None:
        return None
    row, column = np.array(value[:3]), np.array(value[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(length - 1) for length in lengths) > 1e-2 or abs(row @ column) > 1e-2:
        return None
    return tuple(row / lengths[0]) + tuple(column / lengths[1])
