"""One SeriesInstanceUID is not one volume: split its frames into the groups that are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.frames import CONTRAST, Frame
from medtrans.scans.stacks import planes

SAME_DIRECTION = 1e-3  # largest difference of direction cosines, and of pixel spacing in mm, in one volume
LOCALIZER_PLANES = 16  # planes in several directions, at most this many each, are for planning
BALANCED = 3  # ... when no direction has more than this many times the planes of another
OBLIQUE = 20.0  # degrees between two directions for them to count as different


class NotAVolume(InputError):  # noqa: N818 - a verdict on good input, not a fault of it
    """Images that are in order but not meant to become a volume: localizers, scouts, too few slices."""


@dataclass
class Part:
    """Frames that can be one volume (3D or 4D).

    Attributes:
        frames: in no order.
        verdict: why they are not to become one, None when they are.
        label: what tells this part from the others of its series, empty for an only one.
    """

    frames: list[Frame]
    verdict: InputError | None = None
    label: str = ""


def split_series(frames: Sequence[Frame]) -> list[Part]:
    """Split the frames of one series by matrix, kind (contrast, echo, component, ...), orientation and spacing.

    Localizers (by ImageType, or few planes in several directions) and scouts mixed into a series come back as parts
    with a verdict.
    """
    by_kind: dict[Any, list[Frame]] = {}
    for frame in frames:
        by_kind.setdefault((frame.shape, frame.kind), []).append(frame)
    groups = [group for same_kind in by_kind.values() for group in _by_direction(same_kind)]
    parts = [Part(group) for group in groups]
    _mark_localizers(parts)
    split = [Part(piece, part.verdict) for part in parts for piece in _by_contrast(part.frames)]
    split.sort(key=lambda part: _first_instance(part.frames))
    for part in split if len(split) > 1 else []:
        part.label = _label(part, split)
    return split


def _first_instance(frames: Sequence[Frame]) -> tuple[float, int, str, str]:
    """By number, then by kind (magnitude before phase): UIDs, which may be random, decide last."""
    return min(
        (float(f.tags.get("InstanceNumber", 0)), f.index, repr(f.kind), str(f.tags.get("SOPInstanceUID")))
        for f in frames
    )


def _by_direction(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Groups of equal orientation and pixel spacing, within the rounding of headers."""
    groups: list[tuple[np.ndarray, list[Frame]]] = []
    for frame in frames:
        assert frame.orientation is not None
        assert frame.spacing is not None
        own = np.array([*frame.orientation, *frame.spacing])
        for leader, group in groups:
            if np.abs(leader - own).max() < SAME_DIRECTION:
                group.append(frame)
                break
        else:
            groups.append((own, [frame]))
    return [group for _, group in groups]


def _mark_localizers(parts: Sequence[Part]) -> None:
    """Give localizers and scouts their verdict."""
    for part in parts:
        if {"LOCALIZER", "SCOUT"} & set(part.frames[0].tags.get("ImageType", ())):
            part.verdict = NotAVolume("series", "localizer (by its ImageType)", "Nothing to do")
    left = [part for part in parts if part.verdict is None]
    normals: list[np.ndarray] = []
    for part in left:
        if all(_apart(part.frames[0].normal, normal) for normal in normals):
            normals.append(part.frames[0].normal)
    if len(normals) < 2:
        return
    counts = [len(planes(part.frames)) for part in left]
    largest = left[int(np.argmax(counts))]
    if max(counts) <= LOCALIZER_PLANES and max(counts) <= BALANCED * min(counts):
        text = f"localizer: {len(normals)} directions with {', '.join(map(str, counts))} slices"
        for part in left:
            part.verdict = NotAVolume("series", text, "Nothing to do")
        return
    for part, count in zip(left, counts, strict=True):
        if count <= 2 and _apart(part.frames[0].normal, largest.frames[0].normal):
            text = f"scout: {count} slices across a series of {max(counts)}"
            part.verdict = NotAVolume("series", text, "Nothing to do")


def _apart(one: np.ndarray, other: np.ndarray) -> bool:
    return abs(float(one @ other)) < np.cos(np.radians(OBLIQUE))


def _by_contrast(frames: list[Frame]) -> list[list[Frame]]:
    """Split images that share their positions by a contrast tag, if one splits every plane the same way."""
    gathered = planes(frames)
    if max(map(len, gathered)) == 1:
        return [frames]
    for name in CONTRAST:
        values = [Counter(frame.tags.get(name) for frame in plane) for plane in gathered]
        if len(values[0]) > 1 and all(value == values[0] for value in values):
            pieces = [[frame for frame in frames if frame.tags.get(name) == value] for value in values[0]]
            return [piece for part in pieces for piece in _by_contrast(part)]
    return [frames]


def _label(part: Part, all_parts: Sequence[Part]) -> str:
    """What tells a part from the others: its echo, image type, component, direction, ..."""
    words = []
    tags = part.frames[0].tags
    for name in ("EchoTime", "ImageType", "ComplexImageComponent", "GEComponent", "StackID", *CONTRAST):
        if len({other.frames[0].tags.get(name) for other in all_parts}) > 1:
            value = tags.get(name, "none")
            words.append(f"{name} {'/'.join(map(str, value)) if isinstance(value, tuple) else value}")
    axes = {int(np.argmax(np.abs(other.frames[0].normal))) for other in all_parts}
    if len(axes) > 1:
        words.append(("sagittal", "coronal", "axial")[int(np.argmax(np.abs(part.frames[0].normal)))])
    return ", ".join(words) or f"part {1 + [id(p) for p in all_parts].index(id(part))}"
