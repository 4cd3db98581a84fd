"""One SeriesInstanceUID is not one volume: split its frames into the groups that are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.localizers import NotAVolume, mark_localizers
from medtrans.scans.series.separating import CONTRAST, separate

__all__ = ["NotAVolume", "Part", "split_series"]
SAME_DIRECTION = 1e-3  # largest difference of direction cosines, and of pixel spacing in mm, in one volume
LABELS = ("EchoTime", "ImageType", "ComplexImageComponent", "GEComponent", "StackID", "RescaleType", "Units",
          "MonoenergeticEnergyEquivalent", *CONTRAST)  # fmt: skip


@dataclass
class Part:
    """Frames that can be one volume (3D or 4D).

    Attributes:
        frames: in no order.
        verdict: why they are not to become one, None when they are.
        label: what tells this part from the others of its series, no two the same; empty for an only one.
    """

    frames: list[Frame]
    verdict: InputError | None = None
    label: str = ""


def split_series(frames: Sequence[Frame]) -> list[Part]:
    """Split the frames of one series by matrix, kind (component, water or fat, ...), orientation, spacing, contrast.

    Localizers and scouts mixed into a series come back as parts with a verdict. The result does not depend on the
    order of ``frames``.
    """
    by_kind: dict[Any, list[Frame]] = {}
    for frame in sorted(frames, key=_identity):
        by_kind.setdefault((frame.shape, frame.kind), []).append(frame)
    groups = [group for same_kind in by_kind.values() for group in _by_direction(same_kind)]
    verdicts = mark_localizers(groups)
    split: list[tuple[Part, tuple[str, ...]]] = []
    for group, verdict in zip(groups, verdicts, strict=True):
        pieces = [(group, ())] if verdict else separate(group)
        split += [(Part(piece, verdict), words) for piece, words in pieces]
    split.sort(key=lambda pair: _first_instance(pair[0].frames))
    if len(split) > 1:
        _name(split)
    return [part for part, _ in split]


def _identity(frame: Frame) -> tuple[Any, ...]:
    """An order of frames that has nothing to do with the names of their files."""
    return (*(frame.position or ()), _instance(frame), frame.index, str(frame.tags.get("SOPInstanceUID")), frame.kind)


def _instance(frame: Frame) -> float:
    number = frame.tags.get("InstanceNumber")
    return float(number) if isinstance(number, (int, float)) else 0.0


def _first_instance(frames: Sequence[Frame]) -> tuple[Any, ...]:
    """By number, then by kind (magnitude before phase): UIDs, which may be random, decide last."""
    return min((_instance(f), f.index, f.kind, repr(f.tags.get("ImageType")), *_identity(f)) for f in frames)


def _by_direction(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Groups of equal orientation and pixel spacing, within the rounding of headers."""
    groups: list[list[Frame]] = []
    leaders = np.empty((0, 8))
    for frame in frames:
        assert frame.orientation is not None
        assert frame.spacing is not None
        own = np.array([*frame.orientation, *frame.spacing])
        near = np.flatnonzero(np.abs(leaders - own).max(axis=1) < SAME_DIRECTION)
        if near.size:
            groups[near[0]].append(frame)
        else:
            leaders = np.vstack([leaders, own])
            groups.append([frame])
    return groups


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
