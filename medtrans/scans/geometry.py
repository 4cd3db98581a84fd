"""Where a stack of planes lies: its affine, measured from the planes' positions, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from medtrans.errors import InputError
from medtrans.scans.frames import Frame
from medtrans.scans.parts import NotAVolume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHEARED = 0.1  # mm that the last plane is off a straight stack, from which on the stack is called sheared


@dataclass(frozen=True)
class Geometry:
    """Affine of a stack.

    Attributes:
        affine: (column, row, plane) index to RAS mm, 4x4; sheared when the gantry was tilted.
        tilt: degrees between the direction of stacking and the normal of the planes; 0 for a straight stack.
        warnings: what the user should know.
    """

    affine: np.ndarray
    tilt: float
    warnings: tuple[str, ...] = ()


def stack_geometry(frames: Sequence[Frame]) -> Geometry:
    """The affine of parallel planes in order along their normal.

    The step from plane to plane is measured from the positions, never taken from SliceThickness, except for a single
    plane. Positions may be off an even stack by 1 % of the step or 0.1 mm (the rounding of headers), no more.

    Raises:
        InputError: distances are uneven (missing slices); the message gives them.
        NotAVolume: one or two slices, with no thickness to tell or to confirm their distance.
    """
    first = frames[0]
    assert first.orientation is not None
    assert first.spacing is not None
    warnings: list[str] = []
    positions = np.array([frame.position for frame in frames], float)
    if len(frames) == 1:
        step = first.normal * _thickness(first)
    else:
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        _refuse_uneven(positions, step, first.normal)
        warnings += _check_distance(first, len(frames), float(step @ first.normal))
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    sideways = step - (step @ first.normal) * first.normal
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step @ first.normal)))
    if np.linalg.norm(sideways) * (len(frames) - 1) < SHEARED:
        tilt = 0.0
    else:
        warnings.append(
            f"sheared by {tilt:.2f} degrees (gantry tilt): the affine holds the shear; "
            "software that reads only spacing and directions will misplace slices"
        )
    return Geometry(LPS_TO_RAS @ affine, tilt, tuple(warnings))


def _thickness(frame: Frame) -> float:
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        value = frame.tags.get(name)
        if isinstance(value, (int, float)) and value > 0:
            return float(value)
    raise NotAVolume("series", "too few slices: one slice without SliceThickness", "Export the whole series")


def _refuse_uneven(positions: np.ndarray, step: np.ndarray, normal: np.ndarray) -> None:
    even = positions[0] + np.arange(len(positions))[:, None] * step
    off = np.linalg.norm(positions - even, axis=1)
    size = float(np.linalg.norm(step))
    if off.max() <= min(max(0.01 * size, 0.1), 0.25 * size):
        return
    distances = np.diff(positions @ normal)
    if np.ptp(distances) <= 0.02 * size:
        raise InputError(
            "series",
            f"planes are shifted sideways, up to {off.max():.2f} mm off a straight line",
            "Export the series again without mixing fields of view",
        )
    usual = float(np.median(distances))
    odd = [f"{distance:.3f} after slice {n}" for n, distance in enumerate(distances, 1) if abs(distance - usual) > 0.05]
    shown = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
    raise InputError(
        "series",
        f"{len(positions)} slices are not evenly spaced: mostly {usual:.3f} mm apart, but {shown or 'drifting'}",
        "Export the missing slices",
    )


def _check_distance(frame: Frame, count: int, distance: float) -> list[str]:
    """Compare the measured distance with the header's; two slices need that, more confirm one another."""
    values = [frame.tags.get(name) for name in ("SpacingBetweenSlices", "SliceThickness")]
    stated = [abs(float(value)) for value in values if isinstance(value, (int, float)) and value]
    if count == 2 and not stated:
        raise NotAVolume(
            "series",
            f"too few slices: two, {distance:.3f} mm apart, and no SliceThickness to confirm that none is missing",
            "Export the whole series",
        )
    if stated and distance > 1.5 * max(stated):
        return [f"slices are {distance:.3f} mm apart, the header says {max(stated):.3f}: are some missing?"]
    return []


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


def acquired_plane(affine: np.ndarray) -> str:
    """``axial``, ``coronal`` or ``sagittal``, whichever the stack's planes are closest to; ``oblique`` past 20°."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal = np.abs(normal / np.linalg.norm(normal))
    name = ("sagittal", "coronal", "axial")[int(np.argmax(normal))]
    return name if normal.max() >= np.cos(np.radians(20)) else f"oblique {name}"
