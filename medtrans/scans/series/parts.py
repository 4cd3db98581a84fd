"""One SeriesInstanceUID is not one volume: split its frames into the groups that are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.directions import by_direction, refused_directions
from medtrans.scans.series.doubts import tell_doubts
from medtrans.scans.series.localizers import NotAVolume, mark_localizers
from medtrans.scans.series.references import by_frame_of_reference
from medtrans.scans.series.separating import CONTRAST, separate

__all__ = ["NotAVolume", "Part", "split_series"]
LABELS = ("EchoTime", "ImageType", "ComplexImageComponent", "GEComponent", "StackID", "RescaleType", "Units",
          "MonoenergeticEnergyEquivalent", *CONTRAST)  # fmt: skip


@dataclass
class Part:
    """Frames that can be one volume (3D or 4D).

    Attributes:
        frames: in no order.
        verdict: why they are not to become one, None when they are.
        label: what tells this part from the others of its series, no two the same; empty for an only one.
        notes: what the user should know of how it was told from the others.
    """

    frames: list[Frame]
    verdict: InputError | None = None
    label: str = ""
    notes: list[str] = field(default_factory=list)


Piece = tuple[Part, tuple[str, ...]]  # with the words that tell it from the others


def split_series(frames: Sequence[Frame]) -> list[Part]:
    """Split the frames of one series by matrix, kind (component, water or fat, ...), orientation, spacing, contrast.

    Localizers and scouts mixed into a series come back as parts with a verdict. The result does not depend on the
    order of ``frames``.
    """
    by_kind: dict[Any, list[Frame]] = {}
    for frame in sorted(frames, key=_identity):
        by_kind.setdefault((frame.shape, frame.kind), []).append(frame)
    groups = [group for same_kind in by_kind.values() for group in by_direction(same_kind)]
    verdicts = mark_localizers(groups)
    split: list[Piece] = [(Part(group, no), ()) for group, no in zip(groups, verdicts, strict=True) if no]
    by_axis: dict[Any, list[list[Frame]]] = {}
    for group, no in zip(groups, verdicts, strict=True):
        if not no:
            by_axis.setdefault((group[0].shape, group[0].kind, _axis(group[0])), []).append(group)
    for alike in by_axis.values():
        split += _of_several_directions(alike)
    if len(split) > 1:
        split.sort(key=lambda pair: _first_instance(pair[0].frames))
        _name(split)
    parts = [part for part, _ in split]
    tell_doubts(parts)
    return parts


def _of_several_directions(groups: Sequence[list[Frame]]) -> list[Piece]:
    """The parts of groups that no label can tell apart but for their direction or pixel spacing."""
    refusal = refused_directions(groups)
    if refusal:
        return [(Part([frame for group in groups for frame in group], refusal), ())]
    told = f"its series holds images of {len(groups)} directions or pixel spacings, each a volume"
    return [piece for group in groups for piece in _separated(group, [told] if len(groups) > 1 else [])]


def _separated(group: list[Frame], told: list[str]) -> list[Piece]:
    """The parts of parallel images of one kind, with the words that tell each apart."""
    try:
        scans = by_frame_of_reference(group)
    except InputError as refusal:
        return [(Part(group, refusal), ())]
    return [
        (Part(piece, notes=[*told, *([note] if note else [])]), words)
        for own, note in scans
        for piece, words in separate(own)
    ]


def _identity(frame: Frame) -> tuple[Any, ...]:
    """An order of frames that has nothing to do with the names of their files."""
    return (*(frame.position or ()), _instance(frame), frame.index, str(frame.tags.get("SOPInstanceUID")), frame.kind)


def _instance(frame: Frame) -> float:
    number = frame.tags.get("InstanceNumber")
    return float(number) if isinstance(number, (int, float)) else 0.0


def _first_instance(frames: Sequence[Frame]) -> tuple[Any, ...]:
    """By number, then by kind (magnitude before phase): UIDs, which may be random, decide last."""
    return min((_instance(f), f.index, f.kind, repr(f.tags.get("ImageType")), *_identity(f)) for f in frames)


def _name(split: Sequence[tuple[Part, tuple[str, ...]]]) -> None:
    """Give every part a label of its own: what tells it from the others (echo, image type, direction, ...)."""
    firsts = [part.frames[0] for part, _ in split]
    tags = [name for name in dict.fromkeys(LABELS) if len({repr(first.tags.get(name)) for first in firsts}) > 1]
    several_axes = len({_axis(first) for first in firsts}) > 1
    several_shapes = len({first.shape for first in firsts}) > 1
    for (part, words), first in zip(split, firsts, strict=True):
        told = [_told(name, first.tags.get(name, "none")) for name in tags]
        told += [_axis(first)] if several_axes else []
        told += ["x".join(map(str, first.shape))] if several_shapes else []
        part.label = ", ".join([*told, *(word for word in words if word not in told)])
    taken = Counter(part.label for part, _ in split)
    for number, (part, _) in enumerate(split, 1):
        if taken[part.label] > 1 or not part.label:
            part.label = f"{part.label}, part {number}".removeprefix(", ")


def _told(name: str, value: Any) -> str:
    return f"{name} {'/'.join(map(str, value)) if isinstance(value, tuple) else value}"


def _axis(frame: Frame) -> str:
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(frame.normal)))]
