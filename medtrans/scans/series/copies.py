"""Images that show the same values in the same plane: copies, of which one is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.pixels import fingerprint, stored_planes
from medtrans.scans.series.planes import SAME_PLACE
from medtrans.scans.series.repeats import moment


def without_copies(gathered: Sequence[Sequence[Frame]]) -> tuple[list[list[Frame]], list[Frame]]:
    """Drop frames whose physical values equal those of another one of the same plane and moment.

    Where planes then still hold different numbers of images, copies said to be of another moment are dropped too, but
    only from planes with more images than most: at two moments an empty plane may rightly show the same.

    Returns:
        The frames kept, by plane, and those dropped.

    Raises:
        InputError: two different images carry one SOPInstanceUID, or one image lies in two places of its plane.
    """
    rivals = [frame for plane in gathered for frame in _sharing_moment(plane)]
    marks = _marks(rivals)
    kept: list[list[Frame]] = []
    copies: list[Frame] = []
    for plane in gathered:
        left, dropped = _distinct(plane, [(moment(frame), marks.get(id(frame), id(frame))) for frame in plane])
        kept.append(left)
        copies += dropped
    counts = Counter(len(plane) for plane in kept)
    if len(counts) > 1 and len({len(plane) for plane in gathered}) == 1:  # complete time points, some planes empty
        kept, copies = [list(plane) for plane in gathered], []
        counts = Counter(len(plane) for plane in kept)
    usual = max(counts, key=lambda count: (counts[count], -count))
    more = [number for number, plane in enumerate(kept) if len(plane) > usual]
    marks = _marks([frame for number in more for frame in kept[number]])
    for number in more:
        plane = kept[number]
        kept[number], dropped = _distinct(plane, [marks[id(frame)] for frame in plane], len(plane) - usual)
        copies += dropped
    _refuse_two_faces(kept)
    _refuse_two_places(gathered, kept)
    return kept, copies


def _sharing_moment(plane: Sequence[Frame]) -> list[Frame]:
    moments = Counter(moment(frame) for frame in plane)
    return [frame for frame in plane if moments[moment(frame)] > 1]


def _marks(frames: Sequence[Frame]) -> dict[int, str]:
    """The fingerprint of every frame, each file decoded once."""
    return {id(frame): fingerprint(frame, stored) for frame, stored in stored_planes(frames)}


def _distinct(plane: Sequence[Frame], keys: Sequence[Any], most: int | None = None) -> tuple[list[Frame], list[Frame]]:
    """``plane`` with one frame a key, and the others, at most ``most``; of equals the first by file name is kept."""
    kept: list[Frame] = []
    dropped: list[Frame] = []
    seen: set[Any] = set()
    for frame, key in sorted(zip(plane, keys, strict=True), key=lambda pair: str(pair[0].file.path)):
        if key in seen and (most is None or len(dropped) < most):
            dropped.append(frame)
        else:
            kept.append(frame)
            seen.add(key)
    return kept, dropped


def _refuse_two_faces(gathered: Sequence[Sequence[Frame]]) -> None:
    for plane in gathered:
        names = Counter((frame.tags.get("SOPInstanceUID"), frame.index) for frame in plane)
        if any(count > 1 for (uid, _), count in names.items() if uid):
            raise InputError("series", "two different images carry the same SOPInstanceUID", "Export the series again")


def _refuse_two_places(gathered: Sequence[Sequence[Frame]], kept: Sequence[Sequence[Frame]]) -> None:
    """Copies must lie where one of the images that are kept lies, also within the plane."""
    for plane, left in zip(gathered, kept, strict=True):
        if len(left) == len(plane):
            continue
        places, every = (np.array([frame.position for frame in frames]) for frames in (left, plane))
        apart = float(np.linalg.norm(every[:, None] - places, axis=2).min(axis=1).max())
        if apart > SAME_PLACE:
            told = f"one image is there twice, {apart:.2f} mm apart within its plane"
            raise InputError("series", told, "Export the series again")
