"""Images gathered by the plane they show, and whether those planes are an even stack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medtrans.scans.export.frames import Frame
from medtrans.scans.space.distances import is_even

SAME_PLANE = 0.02  # mm; images closer together than this show the same plane
SAME_PLACE = 0.1 + 1e-6  # mm; images of two time points closer together than this show the same place
STACK = 3  # planes, at least, that are a stack of their own


def planes(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames gathered by plane, planes in order along the normal."""
    normal = frames[0].normal
    apart = _same_plane(frames[0])
    found: list[list[Frame]] = []
    last = -np.inf
    for distance, _, frame in sorted((float(normal @ np.array(f.position)), n, f) for n, f in enumerate(frames)):
        if distance - last > apart:
            found.append([])
            last = distance
        found[-1].append(frame)
    return found


def _same_plane(frame: Frame) -> float:
    """mm up to which positions are one plane: slices of a micro CT lie closer together than headers are rounded."""
    stated = [frame.tags.get(name) for name in ("SpacingBetweenSlices", "SliceThickness")]
    return min([SAME_PLANE, *(abs(value) / 4 for value in stated if isinstance(value, (int, float)) and value)])


def places(gathered: Sequence[Sequence[Frame]]) -> np.ndarray:
    """(K,) mm of every plane along the normal of the first."""
    normal = gathered[0][0].normal
    return np.array([float(normal @ np.array(plane[0].position)) for plane in gathered])


def even(gathered: Sequence[Sequence[Frame]]) -> bool:
    """Whether every plane has as many images as the others, at even distances."""
    return len({len(plane) for plane in gathered}) == 1 and is_even(places(gathered))


def is_stack(frames: Sequence[Frame]) -> bool:
    """Whether images show three or more planes at even distances: enough to be volumes by themselves."""
    gathered = planes(frames)
    return len(gathered) >= STACK and is_even(places(gathered))
