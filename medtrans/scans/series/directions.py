"""Images of one direction and pixel size: together although headers round and jitter, as long as no voxel moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.planes import STACK, is_stack, planes

TURNED = 2e-3  # difference of direction cosines from one image to the next of like ones
SCALED = 0.05  # mm that another pixel spacing may move the far edge
EQUAL = 1e-6  # of direction cosines and of mm: the rounding of headers
MOVED = 0.1  # mm that the far corner of an image may lie off the volume's
NOTICED = 0.25  # of a pixel that it may lie off, with a word about it, where that is more


def edges(frames: Sequence[Frame]) -> np.ndarray:
    """(N, 6) mm, LPS: of every image the way from its first to its last column, then to its last row."""
    found = np.empty((len(frames), 6))
    for n, frame in enumerate(frames):
        assert frame.orientation is not None
        assert frame.spacing is not None
        rows, columns = frame.shape
        found[n, :3] = np.array(frame.orientation[:3]) * (frame.spacing[1] * (columns - 1))
        found[n, 3:] = np.array(frame.orientation[3:]) * (frame.spacing[0] * (rows - 1))
    return found


def typical(frames: Sequence[Frame]) -> tuple[np.ndarray, tuple[float, float]]:
    """The median direction cosines (6,) of images of one direction, and their median pixel spacing."""
    directions = np.median([frame.orientation for frame in frames], axis=0)
    rows, columns = np.median([frame.spacing for frame in frames], axis=0)
    return directions, (float(rows), float(columns))


def apart(frames: Sequence[Frame]) -> float:
    """mm that the far corner of an image lies, at most, off where the median direction and spacing put it."""
    off = edges(frames)
    off -= np.median(off, axis=0)
    row, column = off[:, :3], off[:, 3:]
    return float(max(np.linalg.norm(way, axis=1).max() for way in (row, column, row + column)))


def check_directions(frames: Sequence[Frame]) -> list[str]:
    """What the user should know of directions and pixel spacings that differ within one volume.

    Raises:
        InputError: no single affine can place all images.
    """
    off = 0.0 if _equal(frames) else apart(frames)
    if off <= MOVED:
        return []
    told = f"directions or pixel spacings of its images differ by up to {off:.2f} mm at their edge"
    if off > _allowed(frames[0]):
        raise InputError("series", f"{told}: one affine cannot place them all", "Export each direction as a series")
    return [f"{told}: the median is taken"]


def _equal(frames: Sequence[Frame]) -> bool:
    first = frames[0]
    return all(frame.orientation == first.orientation and frame.spacing == first.spacing for frame in frames)


def _allowed(frame: Frame) -> float:
    assert frame.spacing is not None
    return max(MOVED, NOTICED * min(frame.spacing))


def by_direction(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Groups of images, all of one matrix, that may share a direction and a pixel spacing.

    Images belong together that a chain of like ones connects, whatever their order: jitter about one direction, or a
    drift, which :func:`check_directions` refuses where it is more than an affine can hold. Only where each direction
    among them is a stack of its own are they taken apart.
    """
    if _equal(frames):
        return [list(frames)]
    found = _linked(frames, TURNED, SCALED)
    return [piece for group in found for piece in (_own_stacks(group) or [group])]


def refused_directions(groups: Sequence[list[Frame]]) -> InputError | None:
    """Why the groups that :func:`by_direction` found of alike images cannot be volumes, None when they can.

    Three or more single planes, each in its own direction, are no volumes. Time points that are turned against one
    another (motion correction while scanning) are no more to be placed by one affine than those that are moved.
    """
    if len(groups) >= STACK and all(len(planes(group)) == 1 for group in groups):
        told = f"{len(groups)} planes, each of its own direction or pixel spacing"
        return InputError("series", told, "Export each direction as a series")
    if len(groups) < 2 or not all(map(is_stack, groups)) or len({len(planes(group)) for group in groups}) > 1:
        return None
    times = [{frame.tags.get("TemporalPositionIdentifier") for frame in group} for group in groups]
    if any(len(time) > 1 for time in times) or len(set.union(*times) - {None}) < len(groups):
        return None
    told = f"its {len(groups)} time points (by TemporalPositionIdentifier) are turned against one another"
    return InputError(
        "series",
        f"{told} (motion correction while scanning?): one affine cannot place them all",
        "Export the time points as series of their own",
    )


def _own_stacks(group: list[Frame]) -> list[list[Frame]]:
    """The stacks of equal direction in a group that no affine can place; empty where they are none."""
    if apart(group) <= _allowed(group[0]):
        return []
    stacks = _linked(group, EQUAL, EQUAL)
    return stacks if all(is_stack(stack) for stack in stacks) else []


def _linked(frames: Sequence[Frame], turned: float, scaled: float) -> list[list[Frame]]:
    """Images in groups, each connected by steps of at most ``turned`` and ``scaled``; in the order of ``frames``."""
    same: dict[Any, list[Frame]] = {}
    for frame in frames:
        same.setdefault((frame.orientation, frame.spacing), []).append(frame)
    rows, columns = frames[0].shape
    units = np.array([*[turned] * 6, scaled / rows, scaled / columns])
    different = np.array([[*orientation, *spacing] for orientation, spacing in same]) / units
    group = np.full(len(different), -1)
    left = np.arange(len(different))
    while left.size:
        number = int(left[0])
        waiting = [number]
        while waiting:
            near = np.abs(different[left] - different[waiting.pop()]).max(axis=1) <= 1
            group[left[near]] = number
            waiting += left[near].tolist()
            left = left[~near]
            if not left.size:
                break
    found: dict[int, list[Frame]] = {}
    for number, alike in zip(group, same.values(), strict=True):
        found.setdefault(int(number), []).extend(alike)
    return list(found.values())
