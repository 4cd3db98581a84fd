"""The frames of one volume in order: by position along the normal, then by time; copies dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.copies import without_copies
from medtrans.scans.frames import Frame
from medtrans.scans.repeats import find_incomplete, in_time, uneven_repeats

SAME_PLANE = 0.02  # mm; images closer together than this show the same plane


@dataclass
class Stack:
    """Frames in order: ``frames[t][k]`` is plane k, along the normal, at time point t.

    Attributes:
        frames: time points of planes.
        ordered_by: the DICOM tag that orders the time points, empty for a single one.
        copies: frames left out because another one shows the same values in the same plane.
        left_out: frames that belong to the series but not to a complete time point, or to an even run of planes.
        times_left_out: numbers of incomplete time points, and of those apart from the longest run, from 1.
        warnings: what the user should know.
    """

    frames: list[list[Frame]]
    ordered_by: str = ""
    copies: list[Frame] = field(default_factory=list)
    left_out: list[Frame] = field(default_factory=list)
    times_left_out: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def all_frames(self) -> list[Frame]:
        """Every frame used, time point by time point."""
        return [frame for time in self.frames for frame in time]


def planes(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames gathered by plane, planes in order along the normal."""
    normal = frames[0].normal
    found: list[list[Frame]] = []
    last = -np.inf
    for distance, _, frame in sorted((float(normal @ np.array(f.position)), n, f) for n, f in enumerate(frames)):
        if distance - last > SAME_PLANE:
            found.append([])
            last = distance
        found[-1].append(frame)
    return found


def arrange(frames: Sequence[Frame], complete_only: bool = False) -> Stack:
    """Order the frames of one volume by position, and by time where planes repeat; drop copies.

    Args:
        frames: in no order.
        complete_only: where time points are incomplete (a scan that was stopped), keep the complete ones.

    Raises:
        InputError: planes repeat unevenly, or different images claim the same place and time.
    """
    gathered = planes(frames)
    copies: list[Frame] = []
    if max(map(len, gathered)) > 1:
        gathered, copies = without_copies(gathered)
    incomplete = None
    if len({len(plane) for plane in gathered}) > 1:
        incomplete = find_incomplete(gathered)
        if incomplete is None or not complete_only:
            raise uneven_repeats(gathered, incomplete)
        gathered = incomplete.complete
    for plane in gathered:
        _refuse_sideways(plane)
    if len(gathered[0]) == 1:
        return Stack([[plane[0] for plane in gathered]], "", copies)
    name, ordered, warnings = in_time(gathered)
    times = [[plane[t] for plane in ordered] for t in range(len(gathered[0]))]
    stack = Stack(times, name, copies, warnings=warnings)
    if incomplete is not None:
        stack.left_out, stack.times_left_out = incomplete.left_out, incomplete.times_left_out
        stack.warnings.insert(0, f"{incomplete.told}; kept the complete ones")
    return stack


def _refuse_sideways(plane: Sequence[Frame]) -> None:
    positions = np.array([frame.position for frame in plane])
    shift = float(np.abs(positions - positions[0]).max())
    if shift > 0.1:
        raise InputError(
            "series", f"images of one plane lie {shift:.2f} mm apart sideways", "Export the two fields of view apart"
        )
