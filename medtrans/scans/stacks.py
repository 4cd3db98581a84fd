"""The frames of one volume in order: by position along the normal, then by time; copies dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.frames import Frame
from medtrans.scans.pixels import fingerprint, stored_planes

SAME_PLANE = 0.02  # mm; images closer together than this show the same plane


@dataclass
class Stack:
    """Frames in order: ``frames[t][k]`` is plane k, along the normal, at time point t.

    Attributes:
        frames: time points of planes.
        ordered_by: the DICOM tag that orders the time points, empty for a single one.
        copies: frames left out because another one shows the same values in the same plane.
        warnings: what the user should know.
    """

    frames: list[list[Frame]]
    ordered_by: str = ""
    copies: list[Frame] = field(default_factory=list)
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


def arrange(frames: Sequence[Frame]) -> Stack:
    """Order the frames of one volume by position, and by time where planes repeat; drop copies.

    Raises:
        InputError: planes repeat unevenly, or different images claim the same place and time.
    """
    gathered = planes(frames)
    copies: list[Frame] = []
    if max(map(len, gathered)) > 1:
        gathered, copies = _without_copies(gathered)
    repeats = [len(plane) for plane in gathered]
    if len(set(repeats)) > 1:
        counts = ", ".join(f"{number} planes with {count} images" for count, number in sorted(Counter(repeats).items()))
        raise InputError(
            "series", f"images repeat unevenly: {counts}", "Export the series again, complete and without mixtures"
        )
    for plane in gathered:
        _refuse_sideways(plane)
    if repeats[0] == 1:
        return Stack([[plane[0] for plane in gathered]], "", copies)
    name, ordered, warnings = _in_time(gathered)
    times = [[plane[t] for plane in ordered] for t in range(repeats[0])]
    return Stack(times, name, copies, warnings)


def _refuse_sideways(plane: Sequence[Frame]) -> None:
    positions = np.array([frame.position for frame in plane])
    shift = float(np.abs(positions - positions[0]).max())
    if shift > 0.1:
        raise InputError(
            "series", f"images of one plane lie {shift:.2f} mm apart sideways", "Export the two fields of view apart"
        )


def _moment(frame: Frame) -> tuple[Any, ...]:
    return tuple(value(frame) for _, value, _ in ORDERS[:-2])


def _without_copies(gathered: list[list[Frame]]) -> tuple[list[list[Frame]], list[Frame]]:
    """Drop frames equal to another one of the same plane and moment; of any moment where planes repeat unevenly."""
    uneven = len({len(plane) for plane in gathered}) > 1
    kept: list[list[Frame]] = []
    copies: list[Frame] = []
    for plane in gathered:
        rivals: dict[Any, list[Frame]] = {}
        for frame in sorted(plane, key=lambda frame: str(frame.file.path)):
            rivals.setdefault(None if uneven else _moment(frame), []).append(frame)
        kept.append([])
        for same in rivals.values():
            seen: set[str] = set()
            pixels = {id(f): fingerprint(f, stored) for f, stored in stored_planes(same)} if len(same) > 1 else {}
            for frame in same:
                mark = pixels.get(id(frame), "")
                (copies if mark in seen else kept[-1]).append(frame)
                seen.add(mark)
    _refuse_two_faces(kept)
    return kept, copies


def _refuse_two_faces(gathered: Sequence[Sequence[Frame]]) -> None:
    for plane in gathered:
        names = Counter((frame.tags.get("SOPInstanceUID"), frame.index) for frame in plane)
        if any(count > 1 for (uid, _), count in names.items() if uid):
            raise InputError("series", "two different images carry the same SOPInstanceUID", "Export the series again")


def _number(name: str) -> Callable[[Frame], Any]:
    return lambda frame: frame.tags.get(name)


def _gradient(frame: Frame) -> Any:
    value = frame.tags.get("DiffusionBValue")
    if value is None:
        return None
    return (value, frame.tags.get("DiffusionDirectionality", ""), *frame.tags.get("DiffusionGradientOrientation", ()))


def _date_time(frame: Frame) -> Any:
    tags = frame.tags
    whole = tags.get("AcquisitionDateTime")
    return str(whole) if whole else f"{tags.get('AcquisitionDate', '')}{tags['AcquisitionTime']}" \
        if tags.get("AcquisitionTime") else None  # fmt: skip


# Tag, its value in a frame, and whether it names the time point (then every plane has the same set of values).
ORDERS: list[tuple[str, Callable[[Frame], Any], bool]] = [
    ("TemporalPositionIdentifier", _number("TemporalPositionIdentifier"), True),
    ("AcquisitionNumber", _number("AcquisitionNumber"), True),
    ("DiffusionBValue", _gradient, True),
    ("TriggerTime", _number("TriggerTime"), False),
    ("FrameReferenceTime", _number("FrameReferenceTime"), False),
    ("AcquisitionTime", _date_time, False),
    ("ContentTime", _number("ContentTime"), False),
    ("InstanceNumber", lambda frame: (frame.tags.get("InstanceNumber", 0), frame.index), False),
]


def _in_time(gathered: Sequence[Sequence[Frame]]) -> tuple[str, list[list[Frame]], list[str]]:
    """The planes with their repeats in order of the first tag that tells all repeats apart."""
    for name, value, names_time in ORDERS:
        values = [[value(frame) for frame in plane] for plane in gathered]
        if any(v is None for plane in values for v in plane):
            continue
        if any(len(set(plane)) < len(plane) for plane in values):
            continue
        if names_time and any(set(plane) != set(values[0]) for plane in values):
            continue
        ordered = [sorted(plane, key=value) for plane in gathered]
        if name in ("ContentTime", "InstanceNumber"):
            return name, ordered, _weak_order(name, ordered)
        return name, ordered, []
    raise _indistinct(len(gathered[0]))


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
