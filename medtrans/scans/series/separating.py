"""Parallel images of one kind that are still several volumes: told apart by the tags that differ, and by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from medtrans.scans.export.frames import Frame
from medtrans.scans.pet.moments import taken
from medtrans.scans.series.planes import SAME_PLANE, even, is_stack, places, planes

# What makes different images wherever a plane has several of them. On its own it may change from slice to slice.
STRONG = ("ImageType", "EchoNumbers", "EchoTime")
# What makes different images where it splits every plane the same way, or stacks that overlap into even ones.
CONTRAST = ("ContrastBolusAgent", "MonoenergeticEnergyEquivalent", "KVP", "InversionTime", "FlipAngle",
            "RepetitionTime", "ConvolutionKernel", "FilterType", "SliceThickness", "SeriesDescription",
            "ProtocolName")  # fmt: skip
JITTER = 0.05  # ms between echo times, at most, that are one
PHASES = 4  # scans of the same place that are volumes of their own; more are a course in time
# Images that have these tags by more than a factor, or have another text, were not made alike.
UNLIKE = {"SliceThickness": 1.25, "EchoTime": 1.25, "KVP": 1.05, "MonoenergeticEnergyEquivalent": 1.05,
          "ConvolutionKernel": 1.0}  # fmt: skip
PAUSE = 5.0  # times the usual time between two images that separates two phases
Values = list[Any]
Piece = tuple[list[Frame], tuple[str, ...]]


def separate(frames: list[Frame], words: tuple[str, ...] = ()) -> list[Piece]:
    """The volumes among parallel images of equal matrix and spacing, each with the words that tell it apart.

    Repeats in time, of b-value or of heart phase stay together: they become one 4D volume. A tag that has one value in
    each plane splits nothing as long as the planes are one even stack.
    """
    gathered = planes(frames)
    for name, values in _candidates(frames, gathered):
        if len(set(values)) > 1 and _tells_volumes_apart(name, frames, values, gathered):
            groups: dict[Any, list[Frame]] = {}
            for frame, value in zip(frames, values, strict=True):
                groups.setdefault(value, []).append(frame)
            told = [words + ((f"{name} {value}",) if name not in (*STRONG, *CONTRAST) else ()) for value in groups]
            return [piece for own, word in zip(groups.values(), told, strict=True) for piece in separate(own, word)]
    return [(frames, words)]


def _candidates(frames: Sequence[Frame], gathered: Sequence[Sequence[Frame]]) -> list[tuple[str, Values]]:
    """What could tell volumes apart, with its value in every frame, the most telling first."""
    found = [(name, _ranked(frames, gathered, name)) for name in STRONG]
    found += [(name, [_value(frame, name) for frame in frames]) for name in CONTRAST]
    found.append(("field of view", _fields_of_view(frames, gathered)))
    found.append(("AcquisitionNumber", [_value(frame, "AcquisitionNumber") for frame in frames]))
    found.append(("phase", _phases(frames, gathered)))
    return found


def _value(frame: Frame, name: str) -> Any:
    value = frame.tags.get(name)
    return round(value, 3) if isinstance(value, float) else value


def _ranked(frames: Sequence[Frame], gathered: Sequence[Sequence[Frame]], name: str) -> Values:
    """Values; of numbers that jitter, the smallest of those that belong together.

    These are numbers closer than :data:`JITTER`, and those of equal rank where each plane has them in the same order.
    """
    values = [_value(frame, name) for frame in frames]
    if not all(isinstance(value, (int, float)) for value in values):
        return values
    close = _close_together(values)
    if len(set(close)) == 1:
        return close
    levels = [sorted({_value(frame, name) for frame in plane}) for plane in gathered]
    if len({len(level) for level in levels}) > 1:
        return close
    ranks = list(zip(*levels, strict=True))
    if len(ranks) == 1 and unlike(name, close):
        return close
    if any(max(lower) >= min(upper) for lower, upper in pairwise(ranks)):
        return close
    return [next(min(rank) for rank in reversed(ranks) if value >= min(rank)) for value in values]


def _close_together(values: Sequence[float]) -> Values:
    """The smallest value of the chain, with steps up to :data:`JITTER`, that each belongs to."""
    smallest: dict[float, float] = {}
    for last, value in pairwise([min(values) - 1, *sorted(set(values))]):
        smallest[value] = smallest[last] if last in smallest and value - last <= JITTER else value
    return [smallest[value] for value in values]


def _fields_of_view(frames: Sequence[Frame], gathered: Sequence[Sequence[Frame]]) -> Values:
    """Number of the place within their plane, for images of one plane that lie side by side.

    Images that share more than half of their width and height were moved, and are not told apart by it.
    """
    if max(map(len, gathered)) == 1:
        return [1] * len(frames)
    assert frames[0].orientation is not None
    axes = np.array(frames[0].orientation).reshape(2, 3)
    at = np.array([axes @ np.array(frame.position) for frame in frames])
    assert frames[0].spacing is not None
    size = np.array(frames[0].spacing)[::-1] * np.array(frames[0].shape)[::-1]
    values = np.zeros(len(frames), int)
    for number in range(1, PHASES + 1):
        rest = np.flatnonzero(values == 0)
        if not rest.size:
            return [int(value) for value in values]
        off = np.abs(at - at[rest[0]])
        values[(off.max(axis=1) < 0.1) & (values == 0)] = number
        if ((off < 0.5 * size).all(axis=1) & (values == 0)).any():
            return [1] * len(frames)  # moved within one field of view
    return [int(value) for value in values] if values.all() else [1] * len(frames)


def _phases(frames: Sequence[Frame], gathered: Sequence[Sequence[Frame]]) -> Values:
    """Number of the scan, where long pauses part a CT series into as many scans as a plane has images."""
    repeats = max(map(len, gathered))
    times = [taken(frame.tags) for frame in frames]
    if not 2 <= repeats <= PHASES or frames[0].tags.get("Modality") != "CT" or None in times:
        return [1] * len(frames)
    seconds = np.array([time.timestamp() for time in times if time is not None])
    ordered = np.sort(seconds)
    steps = np.diff(ordered)
    cuts = np.sort(np.argsort(steps)[::-1][: repeats - 1])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    if steps[cuts].min() <= max(PAUSE * usual, 1.0) and len(np.unique(ordered)) > repeats:
        return [1] * len(frames)
    return [int(number) + 1 for number in np.searchsorted(ordered[cuts], seconds, side="left")]


def _tells_volumes_apart(
    name: str, frames: Sequence[Frame], values: Values, gathered: Sequence[Sequence[Frame]]
) -> bool:
    """Whether frames of different values are different volumes."""
    value_of = {id(frame): value for frame, value in zip(frames, values, strict=True)}
    counts = [Counter(value_of[id(frame)] for frame in plane) for plane in gathered]
    if not _allowed(name, frames, len(set(values))):
        return False
    if name in STRONG and any(len(count) > 1 for count in counts):
        return True
    if len(counts[0]) > 1 and all(count == counts[0] for count in counts):
        return True
    groups: dict[Any, list[Frame]] = {}
    for frame, value in zip(frames, values, strict=True):
        groups.setdefault(value, []).append(frame)
    if name != "SliceThickness" and unlike(name, groups) and all(map(is_stack, groups.values())):
        return True  # also side by side
    stacks = [planes(group) for group in groups.values()]
    if any(len(stack) < 2 for stack in stacks) or not _overlap(stacks):
        return False
    if not all(even(stack) for stack in stacks):
        return False
    if not even(gathered):
        return True
    if name == "SliceThickness" and unlike(name, groups):
        return True
    numbered = name in ("AcquisitionNumber", "phase") and _counted_through(gathered)
    return not numbered and _interleaved(frames[0], gathered, stacks)


def _allowed(name: str, frames: Sequence[Frame], count: int) -> bool:
    """Acquisitions and contrast agents tell volumes apart in CT; in MR and PET they are repeats in time."""
    if name == "AcquisitionNumber":
        return count <= PHASES and frames[0].tags.get("Modality") == "CT"
    return name != "ContrastBolusAgent" or frames[0].tags.get("Modality") == "CT"


def _overlap(stacks: Sequence[Sequence[Sequence[Frame]]]) -> bool:
    """Whether every stack shares some of its range with another one; blocks side by side do not."""
    ranges = [(found[0], found[-1]) for found in map(places, stacks)]
    return all(
        any(low < other_high - SAME_PLANE and other_low < high - SAME_PLANE
            for other, (other_low, other_high) in enumerate(ranges) if other != own)
        for own, (low, high) in enumerate(ranges)
    )  # fmt: skip


def _interleaved(
    frame: Frame, gathered: Sequence[Sequence[Frame]], stacks: Sequence[Sequence[Sequence[Frame]]]
) -> bool:
    """Whether stacks without a common plane, even together, have each by itself the distance that the header states."""
    stated = frame.tags.get("SpacingBetweenSlices") or frame.tags.get("SliceThickness")
    if not isinstance(stated, (int, float)):
        return False
    own = [float(np.median(np.diff(places(stack)))) for stack in stacks]
    together = float(np.median(np.diff(places(gathered))))
    return all(abs(step - stated) < 0.1 * stated for step in own) and together < 0.75 * stated


def unlike(name: str, values: Iterable[Any]) -> bool:
    """Whether images were clearly not made alike by the values that they have of a tag of :data:`UNLIKE`."""
    known = {value for value in values if value is not None}
    numbers = [value for value in known if isinstance(value, (int, float)) and value > 0]
    if name in UNLIKE and numbers:
        return max(numbers) > UNLIKE[name] * min(numbers)
    return name in UNLIKE and len(known) > 1


def _counted_through(gathered: Sequence[Sequence[Frame]]) -> bool:
    """Whether images are numbered, or timed, plane by plane through all stacks: overlapping slices of one scan."""
    for name in ("InstanceNumber", "AcquisitionTime"):
        values: list[Any] = [frame.tags.get(name) for plane in gathered for frame in plane]
        if None not in values and any(all(a < b for a, b in pairwise(way)) for way in (values, values[::-1])):
            return True
    return False
