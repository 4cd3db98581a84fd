"""The regular grid a stack of planes goes onto: as it lies where it is even, else by one linear interpolation.

The grid keeps the planes' own directions. A plane where none was measured is interpolated between its two true
neighbours, along the direction of stacking; a sheared stack is made straight by moving every plane within itself, as
dcm2niix does. So no plane that was measured is mixed with another one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.space.distances import even_places, tolerance
from medtrans.scans.space.geometry import Planes

SAME_PIXEL = 1e-3  # pixels; a plane that moves by whole pixels to this accuracy is copied
LARGEST = 4  # times the pixels of a plane; no larger one is made ...
SMALL_PLANE = 512 * 512  # ... unless it is small anyway

Weights = tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True)
class RegularGrid:
    """Where every plane of a stack goes.

    Attributes:
        affine: (column, row, plane) index of the grid to RAS mm, 4x4.
        shape: columns, rows, planes.
        weights: of each plane of the stack: the grid's planes it contributes to, each with its share, 0 to 1.
        shifts: (planes, 2) where in each plane of the grid the first pixel of what it shows falls (column, row).
        invented: numbers of the grid's planes that no plane of the stack lies in.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    weights: Weights
    shifts: np.ndarray
    invented: tuple[int, ...] = ()

    @property
    def unused(self) -> tuple[int, ...]:
        """Numbers of the stack's planes that lie between two others and that no plane of the grid needs."""
        return tuple(k for k, shares in enumerate(self.weights) if not shares)

    @property
    def holds_planes(self) -> bool:
        """Whether plane k of the stack is plane k of the grid, as it was measured."""
        return not self.moved and all(shares == ((k, 1.0),) for k, shares in enumerate(self.weights))

    @property
    def interpolates(self) -> bool:
        """Whether any value is not one that was measured."""
        return self.moved or any(share != 1.0 for shares in self.weights for _, share in shares)

    @property
    def moved(self) -> bool:
        """Whether planes move within themselves."""
        return bool(np.abs(self.shifts).max() > 0)

    def add(self, volume: np.ndarray, k: int, plane: np.ndarray, outside: float) -> None:
        """Add plane ``k`` of the stack, with its share, to the planes of ``volume`` it contributes to.

        Planes may come in any order; a plane of the volume is done when all that contribute have come.

        Args:
            volume: (columns, rows, planes) of the grid, zeros at first.
            k: number of the plane in the stack.
            plane: (rows, columns) physical values.
            outside: value where the plane, moved, has none.
        """
        for m, share in self.weights[k]:
            shown = shifted(plane, self.shifts[m], (self.shape[1], self.shape[0]), outside) if self.moved else plane
            if share == 1.0:
                volume[:, :, m] = shown.T
            else:
                volume[:, :, m] += np.float32(share) * shown.T


def regular_grid(planes: Planes, even: bool, straighten: bool) -> RegularGrid:
    """The grid for ``planes``.

    Args:
        planes: the stack.
        even: whether its planes are evenly spaced; if not, the grid takes :func:`even_places`' spacing.
        straighten: whether a tilted stack is made straight; otherwise the affine holds the shear.

    Raises:
        InputError: the grid would hold more planes that are interpolated than measured, or several times the voxels.
    """
    rows, columns = planes.first.shape
    spacing, weights, invented = _as_they_lie(planes) if even else _even_weights(planes.places)
    count = 1 + max(m for shares in weights for m, _ in shares)
    if not (straighten and planes.tilted):
        return RegularGrid(planes.affine(spacing), (columns, rows, count), weights, np.zeros((count, 2)), invented)
    affine = planes.affine(spacing, np.zeros(3))
    shifts, corner, extra = _shifts(planes.drift[:, None] * spacing * np.arange(count), affine)
    affine[:3, 3] += affine[:3, :2] @ corner
    shape = (columns + int(extra[0]), rows + int(extra[1]), count)
    if shape[0] * shape[1] > max(LARGEST * rows * columns, SMALL_PLANE):
        raise InputError(
            "series",
            f"its planes move sideways too far to be made straight ({planes.tilt:.0f} degrees)",
            "Keep the shear",
        )
    return RegularGrid(affine, shape, weights, shifts, invented)


def _as_they_lie(planes: Planes) -> tuple[float, Weights, tuple[int, ...]]:
    return planes.spacing, tuple(((k, 1.0),) for k in range(len(planes.places))), ()


def _even_weights(places: np.ndarray) -> tuple[float, Weights, tuple[int, ...]]:
    """Spacing, the share of each plane in each even plane, and which of these lie between two planes."""
    numbers, spacing = even_places(places)
    total = int(np.rint(places[-1] / spacing)) + 1
    if total > 2 * len(places):
        raise InputError(
            "series",
            f"{len(places)} slices for {total} places {spacing:.3f} mm apart: more would be interpolated than measured",
            "Export the missing slices, or keep the longest even run",
        )
    at = places / spacing if numbers is None else numbers.astype(float)  # of each plane, in planes of the grid
    near = np.rint(at)
    at = np.where(np.abs(at - near) * spacing <= tolerance(spacing), near, at)
    twice = np.flatnonzero(np.diff(at) <= 0)
    if twice.size:
        apart = float(np.diff(places)[twice[0]])
        raise InputError(
            "series",
            f"slices {twice[0] + 1} and {twice[0] + 2} are {apart:.3f} mm apart, others {spacing:.3f}: one twice?",
            "Export the series again without repeated slices",
        )
    shares: list[list[tuple[int, float]]] = [[] for _ in places]
    invented = []
    for m in range(total):
        k = min(int(np.searchsorted(at, m, "right")) - 1, len(at) - 1)
        share = 0.0 if k == len(at) - 1 else float((m - at[k]) / (at[k + 1] - at[k]))
        shares[k].append((m, 1.0 - share))
        if share > 0:
            shares[k + 1].append((m, share))
        if at[k] != m:
            invented.append(m)
    return spacing, tuple(tuple(share) for share in shares), tuple(invented)


def _shifts(sideways: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that planes move, the corner of a grid that holds them all, and by how many pixels it grows.

    Args:
        sideways: (3, planes) LPS mm within the planes.
        affine: of the grid, RAS.
    """
    along_lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :2]
    pixels, *_ = np.linalg.lstsq(along_lps, sideways, rcond=None)
    shifts = pixels.T
    corner = np.floor(shifts.min(axis=0) + SAME_PIXEL)
    extra = np.ceil(shifts.max(axis=0) - SAME_PIXEL) - corner
    shifts = shifts - corner
    whole = np.rint(shifts)
    return np.where(np.abs(shifts - whole) < SAME_PIXEL, whole, shifts), corner, extra


def shifted(plane: np.ndarray, shift: np.ndarray, shape: tuple[int, int], outside: float) -> np.ndarray:
    """``plane`` moved by ``shift`` pixels (column, row) in a larger one, linearly interpolated.

    Pixels are squares: their outer half repeats the edge, beyond it lies ``outside``.

    Args:
        plane: (rows, columns), float32.
        shift: where its first pixel falls, in pixels of the larger plane, columns first.
        shape: rows, columns of the larger plane.
        outside: value beyond the edge.
    """
    whole = np.rint(shift).astype(int)
    if np.array_equal(whole, shift):
        larger = np.full(shape, outside, np.float32)
        larger[whole[1] : whole[1] + plane.shape[0], whole[0] : whole[0] + plane.shape[1]] = plane
        return larger
    import SimpleITK  # heavy, and few series are tilted

    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize((shape[1], shape[0]))
    resample.SetTransform(SimpleITK.TranslationTransform(2, (-shift).tolist()))
    resample.SetInterpolator(SimpleITK.sitkLinear)
    resample.SetDefaultPixelValue(outside)
    resample.SetNumberOfThreads(1)  # series are converted side by side
    return SimpleITK.GetArrayFromImage(resample.Execute(SimpleITK.GetImageFromArray(np.ascontiguousarray(plane))))
