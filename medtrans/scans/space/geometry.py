"""Where a stack of planes lies, measured from the planes' positions, and the affine of the volume they become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.directions import typical
from medtrans.scans.series.parts import NotAVolume
from medtrans.scans.space.distances import coordinate, is_even, tolerance

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHEARED = 0.1  # mm that the last plane is off a straight stack, from which on the stack is called sheared
SMALLEST, LARGEST, FARTHEST = 1e-3, 1e3, 1e5  # mm
TILTED = 0.1  # degrees that three decimals of a direction cosine are good for
TILT_TOLD = 1.0  # degrees of GantryDetectorTilt from which on it is worth a word that positions say otherwise


@dataclass(frozen=True)
class Planes:
    """Parallel planes, in order along their normal, on one straight line.

    Attributes:
        first: the frame of the first plane.
        directions: (6,) direction cosines along a row, then down a column (LPS): the median of the planes'.
        pixel: mm between rows, then between columns: the median of the planes'.
        places: (K,) mm along the normal from the first plane.
        drift: LPS vector in the plane, mm that planes move sideways for every mm along the normal.
        coordinates: the planes' positions as a reader of headers knows them, for messages.
    """

    first: Frame
    directions: np.ndarray
    pixel: tuple[float, float]
    places: np.ndarray
    drift: np.ndarray
    coordinates: tuple[str, ...]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> Planes:
        """Measure ``frames``.

        Raises:
            InputError: planes are off a straight line by more than the rounding of headers.
        """
        directions, pixel = typical(frames)
        normal = _normal(directions)
        positions = np.array([frame.position for frame in frames], float)
        offsets = positions - positions[0]
        places = offsets @ normal
        sideways = offsets - places[:, None] * normal
        drift = sideways[-1] / places[-1] if places[-1] > 0 else np.zeros(3)
        off = np.linalg.norm(sideways - places[:, None] * drift, axis=1).max()
        if len(frames) > 2 and off > 2 * tolerance(float(np.diff(places).min())):  # three coordinates are rounded
            raise InputError(
                "series",
                f"planes are shifted sideways, up to {off:.2f} mm off a straight line",
                "Export the series again without mixing fields of view",
            )
        if len(frames) > 2 and is_even(places):
            # where planes lean far, a little along the normal is much along the stack
            step = float(places[-1]) / (len(frames) - 1)
            off = np.linalg.norm(offsets - np.linspace(0, 1, len(frames))[:, None] * offsets[-1], axis=1).max()
            if off > math.hypot(1, 2) * tolerance(step):
                raise InputError(
                    "series",
                    f"planes lean far and are up to {off:.2f} mm off an even stack",
                    "Export the series again without mixing fields of view",
                )
        return cls(frames[0], directions, pixel, places, drift, tuple(coordinate(p, normal) for p in positions))

    @property
    def normal(self) -> np.ndarray:
        """Unit vector, LPS, that completes row and column direction to a right-handed system."""
        return _normal(self.directions)

    @property
    def sheared(self) -> bool:
        """Whether the planes are stacked along another direction than their normal."""
        return bool(np.linalg.norm(self.drift) * self.places[-1] >= SHEARED)

    @property
    def tilted(self) -> bool:
        """Whether that is a tilted gantry, and not the rounding of directions in the header."""
        return self.sheared and self.tilt >= TILTED

    @property
    def tilt(self) -> float:
        """Degrees between the direction of stacking and the normal of the planes; 0 for a straight stack."""
        return float(np.degrees(np.arctan(np.linalg.norm(self.drift)))) if self.sheared else 0.0

    @property
    def spacing(self) -> float:
        """Mean distance of the planes along their normal, mm; of a single plane its thickness.

        Raises:
            NotAVolume: a single plane without thickness.
        """
        return float(self.places[-1]) / (len(self.places) - 1) if len(self.places) > 1 else _thickness(self.first)

    def affine(self, spacing: float, drift: np.ndarray | None = None) -> np.ndarray:
        """(column, row, plane) index to RAS mm, 4x4, for planes ``spacing`` mm apart from the first one on.

        ``drift`` stands in for the planes' own.
        """
        lps = np.eye(4)
        lps[:3, 0] = self.directions[:3] * self.pixel[1]
        lps[:3, 1] = self.directions[3:] * self.pixel[0]
        lps[:3, 2] = (self.normal + (self.drift if drift is None else drift)) * spacing
        lps[:3, 3] = self.first.position
        return LPS_TO_RAS @ lps


def _normal(directions: np.ndarray) -> np.ndarray:
    """The normal of a plane, LPS, of length 1 also where rounded directions are not quite perpendicular."""
    normal = np.cross(directions[:3], directions[3:])
    return normal / np.linalg.norm(normal)


def refuse_absurd(affine: np.ndarray) -> None:
    """No scanner has voxels below a micrometre or above a metre, nor planes 100 m away, where float32 ends.

    Raises:
        InputError: the affine (RAS mm) says so.
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and sizes.min() >= SMALLEST and sizes.max() <= LARGEST):
        told = " x ".join(f"{size:g}" for size in sizes)
        raise InputError("series", f"its voxels would measure {told} mm", "Export the series again")
    if np.abs(affine[:3, 3]).max() > FARTHEST:
        far = np.abs(affine[:3, 3]).max() / 1000
        raise InputError("series", f"its planes would lie {far:g} m from the origin", "Export the series again")


def check_thickness(planes: Planes) -> list[str]:
    """Compare the distance of even planes with the header's; two planes need that, more confirm one another.

    Returns:
        What the user should know.

    Raises:
        NotAVolume: two slices, with no thickness to confirm their distance.
    """
    count = len(planes.places)
    if count == 1:
        return []
    stated = stated_distances(planes.first)
    if count == 2 and not stated:
        raise NotAVolume(
            "series",
            f"too few slices: two, {planes.spacing:.3f} mm apart, and no SliceThickness to confirm that none is "
            "missing",
            "Export the whole series",
        )
    if stated and planes.spacing > 1.5 * max(stated):
        return [f"slices are {planes.spacing:.3f} mm apart, the header says {max(stated):.3f}: are some missing?"]
    return []


def stated_distances(frame: Frame) -> list[float]:
    """What the header says about the distance and the thickness of slices, mm; empty where it says nothing."""
    values = [frame.tags.get(name) for name in ("SpacingBetweenSlices", "SliceThickness")]
    return [abs(float(value)) for value in values if isinstance(value, (int, float)) and value]


def check_tilt(planes: Planes) -> list[str]:
    """Warnings where the header tells of a tilted gantry and the planes' positions of a straight stack."""
    told = planes.first.tags.get("GantryDetectorTilt")
    if planes.sheared or len(planes.places) < 2 or not isinstance(told, (int, float)) or abs(told) < TILT_TOLD:
        return []
    return [
        f"GantryDetectorTilt says {told:g} degrees, the planes' positions show a straight stack: positions are believed"
    ]


def _thickness(frame: Frame) -> float:
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        value = frame.tags.get(name)
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
    raise NotAVolume("series", "too few slices: one slice without SliceThickness", "Export the whole series")


def largest_distance(one: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """How far apart, in mm, two affines put the corners of a volume at most."""
    last = np.array([*shape, 1, 1])[:3] - 1
    corners = np.array([[i, j, k, 1] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])], float)
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip and permute the spatial axes of ``array`` (X, Y, Z[, T]) to RAS order, without resampling.

    Raises:
        InputError: the affine leaves an axis without a direction of its own.
    """
    orientation = nib.orientations.io_orientation(affine)
    if np.isnan(orientation).any():
        raise InputError("image file", "two of its axes point the same way", "Set its orientation")
    turned = nib.orientations.apply_orientation(array, orientation)
    return turned, affine @ nib.orientations.inv_ornt_aff(orientation, array.shape[:3])


def in_stack_order(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A view of ``array``, which is in RAS order, in the order of axes that ``affine`` has; undoes :func:`to_ras`."""
    back = nib.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], nib.orientations.io_orientation(affine))
    return nib.orientations.apply_orientation(array, back)


def ras_shape_and_affine(shape: tuple[int, int, int], affine: np.ndarray) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape and affine of a (column, row, plane) grid once its axes are flipped and permuted to RAS order."""
    orientation = nib.orientations.io_orientation(affine)
    sizes = dict(zip(orientation[:, 0].astype(int), shape, strict=True))
    return (sizes[0], sizes[1], sizes[2]), affine @ nib.orientations.inv_ornt_aff(orientation, shape)


def acquired_plane(affine: np.ndarray) -> str:
    """``axial``, ``coronal`` or ``sagittal``, whichever the stack's planes are closest to; ``oblique`` past 20°."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal = np.abs(normal / np.linalg.norm(normal))
    name = ("sagittal", "coronal", "axial")[int(np.argmax(normal))]
    return name if normal.max() >= np.cos(np.radians(20)) else f"oblique {name}"
