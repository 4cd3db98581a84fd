"""Which grid a scan is brought onto: RAS axes and spacing of the training data, framed about the body as they were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medtrans.transforms.body_mask import body_mask

Grid = tuple[np.ndarray, tuple[int, ...]]  # affine (4, 4), index -> RAS millimetres; voxels along the three axes
COARSE_MM = 2.5  # the body is looked for on about every 2.5th millimetre


def ras_grid(affine: np.ndarray, shape: Sequence[int], spacing: Sequence[float], tolerance: float = 0.01) -> Grid:
    """The grid with RAS axes that covers the field of view of another, about its centre.

    Args:
        affine: the other grid's, ``(4, 4)``, index -> millimetres in RAS.
        shape: its voxels along the three axes.
        spacing: millimetres per voxel of the new grid.
        tolerance: how far, in voxels of the new grid, any corner may lie from the right grid for the old to be right.

    Returns:
        The new grid; with ``affine`` itself where it is already right.
    """
    step, size = np.asarray(spacing, dtype=np.float64), np.asarray(shape, dtype=np.float64)
    drift = np.abs(affine[:3, :3] - np.diag(step)) @ size / step
    if drift.max() < tolerance:
        return affine, tuple(int(n) for n in shape)
    extent = np.abs(affine[:3, :3]) @ size  # of the box around the field of view, edge to edge
    count = np.maximum(np.ceil(extent / step - tolerance), 1)
    centre = affine[:3, :3] @ ((size - 1) / 2) + affine[:3, 3]
    new = np.diag([*step, 1.0])
    new[:3, 3] = centre - step * (count - 1) / 2
    return new, tuple(int(n) for n in count)


def body_box(volume: np.ndarray, affine: np.ndarray, kind: str) -> np.ndarray | None:
    """Smallest and largest RAS coordinates of the body, ``(2, 3)`` in millimetres; None where no body is found.

    Args:
        volume: ``(X, Y, Z)`` in physical units.
        affine: its grid's.
        kind: ``"CT"``, ``"MR"`` or ``"PET"``, see :func:`medtrans.transforms.body_mask.body_mask`.
    """
    strides = np.maximum(np.rint(COARSE_MM / np.linalg.norm(affine[:3, :3], axis=0)).astype(int), 1)
    try:
        body = body_mask(volume[tuple(slice(None, None, n) for n in strides)], kind)
    except ValueError:  # no contrast at all
        return None
    found = np.argwhere(body)
    if not len(found):
        return None
    world = (found * strides) @ affine[:3, :3].T + affine[:3, 3]
    return np.stack([world.min(axis=0), world.max(axis=0)])


def framed_grid(grid: Grid, size: Sequence[int | None], box: np.ndarray | None) -> Grid:
    """``grid`` cropped and padded by whole voxels to ``size`` about the middle of ``box``.

    An axis without a size, or along which the box is longer than the size, stays as it is: what is longer than a window
    is covered by several.

    Args:
        grid: along the RAS axes.
        size: voxels along the three axes, None to keep an axis.
        box: ``(2, 3)`` what to frame, in millimetres; None frames the middle of the grid.
    """
    affine, shape = grid
    step, first = np.diag(affine)[:3], affine[:3, 3]
    last = first + step * (np.asarray(shape) - 1)
    frame = np.stack([first, last]) if box is None else box
    new, counts = affine.copy(), list(shape)
    for axis, wanted in enumerate(size):
        if wanted is None or (box is not None and frame[1, axis] - frame[0, axis] > wanted * step[axis]):
            continue
        start = np.rint((frame[:, axis].mean() - first[axis]) / step[axis] - (wanted - 1) / 2)
        new[axis, 3] += start * step[axis]
        counts[axis] = int(wanted)
    unchanged = tuple(counts) == tuple(shape) and np.array_equal(new, affine)
    return (affine if unchanged else new), tuple(counts)
