"""The frames of one volume in order: by position along the normal, then by time; copies dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.copies import without_copies
from medtrans.scans.series.directions import check_directions
from medtrans.scans.series.planes import SAME_PLACE, even, places, planes
from medtrans.scans.series.repeats import ORDERS, find_incomplete, in_time, uneven_repeats


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


def arrange(frames: Sequence[Frame], complete_only: bool = False) -> Stack:
    """Order the frames of one volume by position, and by time where planes repeat; drop copies.

    Args:
        frames: in no order.
        complete_only: where time points are incomplete (a scan that was stopped), keep the complete ones.

    Raises:
        InputError: directions differ, planes repeat unevenly, different images claim the same place and time, or the
            time points of one place lie apart.
    """
    told = check_directions(frames)
    gathered = _by_time_point(frames) or planes(frames)
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
        return Stack([[plane[0] for plane in gathered]], "", copies, warnings=told)
    name, ordered, warnings = in_time(gathered)
    times = [[plane[t] for plane in ordered] for t in range(len(gathered[0]))]
    stack = Stack(times, name, copies, warnings=[*warnings, *told])
    if incomplete is not None:
        stack.left_out, stack.times_left_out = incomplete.left_out, incomplete.times_left_out
        stack.warnings.insert(0, f"{incomplete.told}; kept the complete ones")
    return stack


def _by_time_point(frames: Sequence[Frame]) -> list[list[Frame]] | None:
    """Planes that each time point has at almost the same place, where their rounding hides which belong together.

    Raises:
        InputError: time points, each complete, lie further apart than that.
    """
    gathered = planes(frames)
    if even(gathered) and max(map(_spread, gathered)) <= SAME_PLACE:
        return None
    for name, value, names_time in ORDERS:
        times: dict[Any, list[Frame]] = {}
        for frame in frames if names_time else ():
            times.setdefault(value(frame), []).append(frame)
        stacks = [planes(time) for _, time in sorted(times.items(), key=lambda pair: repr(pair[0]))]
        if None in times or len(stacks) < 2 or len({len(stack) for stack in stacks}) > 1:
            continue
        if any(len(stack[0]) > 1 or not even(stack) for stack in stacks) or not _overlap(stacks):
            continue
        together = [[stack[k][0] for stack in stacks] for k in range(len(stacks[0]))]
        apart = max(_spread(plane) for plane in together)
        if apart <= SAME_PLACE:
            return together
        raise InputError(
            "series",
            f"its {len(stacks)} time points (by {name}) lie up to {apart:.2f} mm apart (motion correction while "
            "scanning?): one affine cannot place them all",
            "Export the time points as series of their own",
        )
    return None


def _overlap(stacks: Sequence[Sequence[Sequence[Frame]]]) -> bool:
    """Whether all stacks share a stretch; stations of one long scan do not."""
    ends = [places(stack)[[0, -1]] for stack in stacks]
    return max(low for low, _ in ends) < min(high for _, high in ends)


def _spread(plane: Sequence[Frame]) -> float:
    positions = np.array([frame.position for frame in plane])
    return float(np.linalg.norm(positions - positions[0], axis=1).max())


def _refuse_sideways(plane: Sequence[Frame]) -> None:
    positions = np.array([frame.position for frame in plane])
    shift = float(np.abs(positions - positions[0]).max())
    if shift > SAME_PLACE:
        raise InputError(
            "series", f"images of one plane lie {shift:.2f} mm apart sideways", "Export the two fields of view apart"
        )
