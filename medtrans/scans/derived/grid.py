"""The planes of a source series cut out of a volume: as they lie, or interpolated if asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy.ndimage import map_coordinates

from medtrans.errors import InputError
from medtrans.scans.derived.sources import SourceSeries
from medtrans.scans.export.frames import Frame
from medtrans.scans.space.distances import is_even, tolerance
from medtrans.scans.space.geometry import LPS_TO_RAS

REMEDY = "Give the series that it was made from, or interpolate it onto the planes with --resample"


@dataclass(frozen=True)
class CutPlanes:
    """A volume on the planes of its source.

    Attributes:
        values: (planes, rows, columns), float32.
        frames: the source's frame of each plane.
        resampled: whether values were interpolated.
        outside: share of the pixels that lie outside the volume, 0 to 1.
    """

    values: np.ndarray
    frames: tuple[Frame, ...]
    resampled: bool = False
    outside: float = 0.0


def off_grid(shape: Sequence[int], affine: np.ndarray, source: SourceSeries) -> str:
    """What keeps a volume from lying on the planes of ``source``, in mm; empty where it does.

    Args:
        shape: (X, Y, Z).
        affine: index to RAS mm, (4, 4).
        source: its planes may be oblique or sheared. Where they are uneven, the volume may hold planes between them
            or lack some at their ends, as conversion makes it of such a series.
    """
    return _numbers(shape, affine, source)[0]


def cut(array: np.ndarray, affine: np.ndarray, source: SourceSeries, subject: str) -> CutPlanes:
    """The planes of ``source`` in a volume that lies on its grid: no value is changed.

    Args:
        array: (X, Y, Z), axes in any order and direction.
        affine: index to RAS mm.
        source: the series.
        subject: what the volume is called in messages.

    Raises:
        InputError: the grids differ; the message says by how much.
    """
    problem, numbers = _numbers(array.shape, affine, source)
    if problem:
        raise InputError(subject, f"does not lie on the grid of series {source.name}: {problem}", REMEDY)
    view = nib.orientations.apply_orientation(array, _turn(affine, source))
    values = np.stack([view[:, :, m].T for m in numbers.values()]).astype(np.float32, copy=False)
    return CutPlanes(values, tuple(source.frames[k] for k in numbers))


def resample(array: np.ndarray, affine: np.ndarray, source: SourceSeries, background: float, subject: str) -> CutPlanes:
    """The volume on the planes of ``source``, each interpolated linearly, once; planes wholly outside are left out.

    Args:
        array: (X, Y, Z).
        affine: index to RAS mm.
        source: the series.
        background: value outside the volume.
        subject: what the volume is called in messages.

    Raises:
        InputError: no plane meets the volume.
    """
    values, frames, outside = [], [], []
    for frame in source.frames:
        index = _moved(np.linalg.inv(affine) @ _plane(frame), frame.shape)
        inside = ((index >= -0.5) & (index <= np.array(array.shape)[:, None, None] - 0.5)).all(axis=0)
        if inside.any():
            plane = map_coordinates(array, index, order=1, mode="nearest", output=np.float32)
            values.append(np.where(inside, plane, np.float32(background)))
            frames.append(frame)
            outside.append(1 - inside.mean())
    if not values:
        raise InputError(subject, f"and series {source.name} do not overlap", "Give the series that it was made from")
    return CutPlanes(np.stack(values), tuple(frames), True, float(np.mean(outside)))


def _numbers(shape: Sequence[int], affine: np.ndarray, source: SourceSeries) -> tuple[str, dict[int, int]]:
    """What is wrong, and the number in the volume of each plane of the source."""
    turn = _turn(affine, source)
    if turn is None:
        return "its axes point elsewhere", {}
    size = tuple(int(shape[int(np.flatnonzero(turn[:, 0] == axis)[0])]) for axis in range(3))
    rows, columns = source.first.shape
    even = is_even(source.planes.places)
    if size[:2] != (columns, rows) or (even and size[2] != len(source.frames)):
        told = f"{columns} x {rows} x {len(source.frames)}"
        return f"it has {' x '.join(map(str, size))} voxels, the series {told}", {}
    turned = affine @ nib.orientations.inv_ornt_aff(turn, tuple(shape))
    numbers, farthest = {}, 0.0
    for k, frame in enumerate(source.frames):
        m, distance = _nearest(turned, frame)
        if 0 <= m < size[2]:
            numbers[k] = m
            farthest = max(farthest, distance)
        elif even:
            return "it lies elsewhere", {}
    if not numbers:
        return "it lies elsewhere", {}
    if farthest > tolerance(min(source.planes.spacing, *source.planes.pixel)):
        return f"voxels are up to {farthest:.2f} mm away", {}
    return "", numbers


def _turn(affine: np.ndarray, source: SourceSeries) -> np.ndarray | None:
    """The orientation transform that brings the volume's axes into the order of column, row, plane."""
    stack = source.planes.affine(source.planes.spacing)
    turn = nib.orientations.io_orientation(np.linalg.inv(stack) @ affine)
    return None if np.isnan(turn).any() else turn


def _nearest(turned: np.ndarray, frame: Frame) -> tuple[int, float]:
    """The plane of a turned volume closest to that of ``frame``, and how far apart their corners are, in mm."""
    rows, columns = frame.shape
    corners = np.array([[i, j, 0, 1] for i in (0, columns - 1) for j in (0, rows - 1)], float).T
    places = _plane(frame) @ corners
    m = int(np.rint((np.linalg.inv(turned) @ places)[2].mean()))
    corners[2] = m
    return m, float(np.linalg.norm((turned @ corners - places)[:3], axis=0).max())


def _plane(frame: Frame) -> np.ndarray:
    """(column, row, 0, 1) of a frame to RAS mm."""
    assert frame.orientation is not None
    assert frame.spacing is not None
    lps = np.eye(4)
    lps[:3, 0] = np.array(frame.orientation[:3]) * frame.spacing[1]
    lps[:3, 1] = np.array(frame.orientation[3:]) * frame.spacing[0]
    lps[:3, 2] = frame.normal
    lps[:3, 3] = frame.position
    return LPS_TO_RAS @ lps


def _moved(affine: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where ``affine`` takes the pixels (rows, columns) of a plane: (3, rows, columns)."""
    j, i = np.indices(shape)
    return affine[:3, 0, None, None] * i + affine[:3, 1, None, None] * j + affine[:3, 3, None, None]
