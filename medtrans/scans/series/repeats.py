"""Several images of one plane: which time point each belongs to, and whether all time points are complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.pet.moments import time_of_day
from medtrans.scans.space.distances import coordinate

FEWEST = 2  # complete time points, below which a time series is not told from images sent by mistake


@dataclass(frozen=True)
class Incomplete:
    """A time series of which some time points lack planes.

    Attributes:
        complete: the frames of complete time points, by plane.
        left_out: the other frames.
        times_left_out: numbers of the time points left out, from 1.
        told: what is there, in numbers.
    """

    complete: list[list[Frame]]
    left_out: list[Frame]
    times_left_out: list[int]
    told: str


def _number(name: str) -> Callable[[Frame], Any]:
    return lambda frame: frame.tags.get(name)


def _gradient(frame: Frame) -> Any:
    value = frame.tags.get("DiffusionBValue")
    if value is None:
        return None
    direction = frame.tags.get("DiffusionGradientOrientation") or frame.tags.get("GEGradient") or ()
    return (value, frame.tags.get("DiffusionDirectionality", ""), *direction)


def _date_time(frame: Frame) -> Any:
    tags = frame.tags
    whole = tags.get("AcquisitionDateTime")
    return str(whole) if whole else f"{tags.get('AcquisitionDate', '')}{tags['AcquisitionTime']}" \
        if tags.get("AcquisitionTime") else None  # fmt: skip


def _image_index(frame: Frame) -> tuple[int, int] | None:
    """Number of the time slot (of gated PET, heart beat by heart beat) and of the slice, from 0.

    PS3.3 C.8.9.4.1.9: ImageIndex counts slices first, then time slots, then R-R intervals.
    """
    index, slices = frame.tags.get("ImageIndex"), frame.tags.get("NumberOfSlices")
    if not isinstance(index, int) or not isinstance(slices, int) or min(index, slices) < 1:
        return None
    return divmod(index - 1, slices)


def _time_slot(frame: Frame) -> Any:
    index = _image_index(frame)
    return None if index is None else index[0]


MIDNIGHT = 43200.0  # s between clock times from which on a scan rather went over midnight than on for half a day
# Tag, its value in a frame, and whether it names the time point (then every plane has the same set of values).
ORDERS: list[tuple[str, Callable[[Frame], Any], bool]] = [
    ("TemporalPositionIdentifier", _number("TemporalPositionIdentifier"), True),
    ("AcquisitionNumber", _number("AcquisitionNumber"), True),
    ("DiffusionBValue", _gradient, True),
    ("TriggerTime", _number("TriggerTime"), False),
    ("FrameReferenceTime", _number("FrameReferenceTime"), False),
    ("ImageIndex", _time_slot, True),
    ("AcquisitionTime", _date_time, False),
    ("ContentTime", _number("ContentTime"), False),
    ("InstanceNumber", lambda frame: (frame.tags.get("InstanceNumber", 0), frame.index), False),
]


def moment(frame: Frame) -> tuple[Any, ...]:
    """What the header says about when, and with which weighting, a frame was taken."""
    return tuple(value(frame) for _, value, _ in ORDERS[:-2])


def in_time(gathered: Sequence[Sequence[Frame]]) -> tuple[str, list[list[Frame]], list[str]]:
    """The planes with their repeats in order of the first tag that tells all repeats apart, the tag, and warnings.

    Raises:
        InputError: no tag tells them apart.
    """
    for name, value, names_time in ORDERS:
        values = [[value(frame) for frame in plane] for plane in gathered]
        if any(v is None for plane in values for v in plane):
            continue
        if any(len(set(plane)) < len(plane) for plane in values):
            continue
        if names_time and any(set(plane) != set(values[0]) for plane in values):
            continue
        if any(_doubtful(name, plane) for plane in gathered) or (name == "ImageIndex" and not _indexed(gathered)):
            continue
        ordered = [sorted(plane, key=value) for plane in gathered]
        if name in ("ContentTime", "InstanceNumber"):
            return name, ordered, _weak_order(name, ordered)
        return name, ordered, []
    raise _indistinct(len(gathered[0]))


def _doubtful(name: str, plane: Sequence[Frame]) -> bool:
    """Whether the order by a tag must not be believed.

    Clock times without a date when the scan may have gone over midnight; trigger times that only jitter about one phase
    of the heart while the beats go by (perfusion), which acquisition times show.
    """
    clocks = [
        clock for clock in (time_of_day(frame.tags.get("AcquisitionTime")) for frame in plane) if clock is not None
    ]
    if len(clocks) < len(plane):
        return False
    span = max(clocks) - min(clocks)
    if name == "AcquisitionTime":
        dated = all(frame.tags.get("AcquisitionDateTime") or frame.tags.get("AcquisitionDate") for frame in plane)
        return not dated and span > MIDNIGHT
    if name != "TriggerTime" or len(set(clocks)) < len(clocks):
        return False
    triggers = [float(frame.tags["TriggerTime"]) for frame in plane]
    disagree = np.argsort(clocks).tolist() != np.argsort(triggers).tolist()
    return disagree and span > 1.5e-3 * (max(triggers) - min(triggers))


def _indexed(gathered: Sequence[Sequence[Frame]]) -> bool:
    """Whether every plane has one slice number by ImageIndex, in the order of positions or against it."""
    slices = [{index[1] for index in map(_image_index, plane) if index is not None} for plane in gathered]
    numbers = [min(found) for found in slices]
    return all(len(found) == 1 for found in slices) and any(
        all(one < other for one, other in pairwise(way)) for way in (numbers, numbers[::-1])
    )


def _weak_order(name: str, ordered: Sequence[Sequence[Frame]]) -> list[str]:
    """Order by file bookkeeping is believed for MR only, and only where both kinds of bookkeeping agree."""
    instances = [[frame.tags.get("InstanceNumber", 0) + frame.index * 1e-6 for frame in plane] for plane in ordered]
    if ordered[0][0].tags.get("Modality") != "MR" or any(plane != sorted(plane) for plane in instances):
        raise _indistinct(len(ordered[0]))
    return [f"time points are told apart by {name} only"]


def _indistinct(repeats: int) -> InputError:
    return InputError(
        "series",
        f"every plane has {repeats} different images and no tag that says which belong together",
        "Export the repeats as series of their own",
    )


def find_incomplete(gathered: Sequence[Sequence[Frame]]) -> Incomplete | None:
    """The complete time points of planes that repeat unevenly.

    They are told by a tag that names the time point, or by a tag that counts images on when everything of one time
    point comes before anything of the next and only the last one lacks planes. Of a time series the longest unbroken
    run of complete time points is taken, of diffusion weightings all complete ones.

    Returns:
        None where fewer than two time points are known to be complete.
    """
    for name, value, names_time in ORDERS:
        values = [[value(frame) for frame in plane] for plane in gathered]
        if any(v is None for plane in values for v in plane) or any(len(set(p)) < len(p) for p in values):
            continue
        times = [[(v, frame) for v, frame in zip(vs, fs, strict=True)] for vs, fs in zip(values, gathered, strict=True)]
        by_time = _named(times) if names_time else _counted(times, name)
        whole = [len(frames) == len(gathered) for frames in by_time]
        chosen = list(range(len(whole))) if name == "DiffusionBValue" else list(_longest(whole))
        chosen = [t for t in chosen if whole[t]]
        if len(chosen) >= FEWEST:
            return _incomplete(gathered, by_time, chosen, name)
    return None


def _incomplete(
    gathered: Sequence[Sequence[Frame]], by_time: Sequence[Sequence[Frame]], chosen: Sequence[int], name: str
) -> Incomplete:
    kept = {id(frame) for t in chosen for frame in by_time[t]}
    short = [f"time point {t + 1} has {len(frames)}" for t, frames in enumerate(by_time) if len(frames) < len(gathered)]
    whole = len(by_time) - len(short)
    told = f"{whole} of {len(by_time)} time points (by {name}) hold all {len(gathered)} planes, {', '.join(short[:5])}"
    told += f" and {len(short) - 5} more lack some" if len(short) > 5 else ""
    told += f", {len(chosen)} complete ones follow one another" if len(chosen) < whole else ""
    complete = [[frame for frame in plane if id(frame) in kept] for plane in gathered]
    left_out = [frame for plane in gathered for frame in plane if id(frame) not in kept]
    times_left_out = [t + 1 for t in range(len(by_time)) if t not in chosen]
    return Incomplete(complete, left_out, times_left_out, told)


def _named(times: Sequence[Sequence[tuple[Any, Frame]]]) -> list[list[Frame]]:
    """Frames by time point, time points in order of their name."""
    found: dict[Any, list[Frame]] = {}
    for plane in times:
        for name, frame in plane:
            found.setdefault(name, []).append(frame)
    return [found[name] for name in sorted(found)]


def _counted(times: Sequence[Sequence[tuple[Any, Frame]]], name: str) -> list[list[Frame]]:
    """Frames by time point where everything of one comes before anything of the next; empty otherwise."""
    if name == "InstanceNumber" and times[0][0][1].tags.get("Modality") != "MR":
        return []
    ordered = [sorted(plane, key=lambda pair: pair[0]) for plane in times]
    ranks = [[plane[t] for plane in ordered if t < len(plane)] for t in range(max(map(len, ordered)))]
    apart = all(max(v for v, _ in one) < min(v for v, _ in next_) for one, next_ in pairwise(ranks))
    return [[frame for _, frame in rank] for rank in ranks] if apart else []


def _longest(whole: Sequence[bool]) -> range:
    """The longest unbroken run of True."""
    best, start = range(0), 0
    for t, complete in enumerate([*whole, False]):
        if not complete:
            if t - start > len(best):
                best = range(start, t)
            start = t + 1
    return best


def uneven_repeats(gathered: Sequence[Sequence[Frame]], incomplete: Incomplete | None) -> InputError:
    """The refusal of planes that hold different numbers of images, in numbers."""
    counts = Counter(len(plane) for plane in gathered)
    usual = max(counts, key=lambda count: (counts[count], -count))
    odd = [(number, plane) for number, plane in enumerate(gathered, 1) if len(plane) != usual]
    told = []
    for number, plane in odd[:5]:
        where = coordinate(np.array(plane[0].position), plane[0].normal)
        told.append(f"slice {number} ({where}) has {len(plane)}" + (" different ones" if len(plane) > 1 else ""))
    problem = f"images repeat unevenly: {counts[usual]} of {len(gathered)} slices have {usual} "
    problem += f"{'image' if usual == 1 else 'different images'}, {', '.join(told)}"
    problem += f" and {len(odd) - 5} more differ" if len(odd) > 5 else ""
    remedy = "Export the series again, complete and without mixtures"
    if incomplete is not None:
        problem += f"; {incomplete.told}"
        remedy += ", or keep the complete time points with --gaps largest-run"
    return InputError("series", problem, remedy)
