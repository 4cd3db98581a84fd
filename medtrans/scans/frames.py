"""One image plane: where it lies in the patient, how its stored values become physical ones, what it belongs to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from medtrans.scans.headers import ScanFile

# What must agree within one volume, besides matrix, orientation and pixel spacing.
KIND = ("Modality", "ImageType", "EchoTime", "EchoNumbers", "ComplexImageComponent", "GEComponent", "StackID",
        "FrameOfReferenceUID", "Units")  # fmt: skip
# What splits images that share their positions, when it splits them evenly.
CONTRAST = ("InversionTime", "FlipAngle", "RepetitionTime", "ConvolutionKernel", "FilterType", "SeriesDescription",
            "ProtocolName")  # fmt: skip


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
        values = [self.tags.get(name) for name in KIND]
        return tuple(round(value, 2) if isinstance(value, float) else value for value in values)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns of this plane (of one tile, in a mosaic)."""
        return int(self.tags["Rows"]) // self.file.tiles, int(self.tags["Columns"]) // self.file.tiles


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, tuple) or len(value) != count or any(isinstance(v, str) or v is None for v in value):
        return None
    return tuple(float(v) for v in value) if all(math.isfinite(v) for v in value) else None


def _positive(value: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return value if value is not None and min(value) > 0 else None


def _unit_vectors(value: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Row and column direction at length 1; None when they are not two perpendicular directions."""
    if value is None:
        return None
    row, column = np.array(value[:3]), np.array(value[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(length - 1) for length in lengths) > 1e-2 or abs(row @ column) > 1e-2:
        return None
    return tuple(row / lengths[0]) + tuple(column / lengths[1])
