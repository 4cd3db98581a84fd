"""One SeriesInstanceUID is not one volume: split its frames into the groups that are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.frames import Frame
from medtrans.scans.localizers import NotAVolume, mark_localizers
from medtrans.scans.separating import CONTRAST, separate

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


def _name(split: Sequence[tuple[Part, tuple[str, ...]]]) -> None:
    """Give every part a label of its own."""
    parts = [part for part, _ in split]
    for part, words in split:
        part.label = _label(part, parts, words)
    taken = Counter(part.label for part in parts)
    for number, part in enumerate(parts, 1):
        if taken[part.label] > 1 or not part.label:
            part.label = f"{part.label}, part {number}".removeprefix(", ")


def _label(part: Part, all_parts: Sequence[Part], words: Sequence[str]) -> str:
    """What tells a part from the others: its echo, image type, component, direction, matrix, ..."""
    told = []
    tags = part.frames[0].tags
    for name in dict.fromkeys(LABELS):
        if len({repr(other.frames[0].tags.get(name)) for other in all_parts}) > 1:
            value = tags.get(name, "none")
            told.append(f"{name} {'/'.join(map(str, value)) if isinstance(value, tuple) else value}")
    axes = {int(np.argmax(np.abs(other.frames[0].normal))) for other in all_parts}
    if len(axes) > 1:
        told.append(("sagittal", "coronal", "axial")[int(np.argmax(np.abs(part.frames[0].normal)))])
    if len({other.frames[0].shape for other in all_parts}) > 1:
        told.append("x".join(map(str, part.frames[0].shape)))
    return ", ".join([*told, *(word for word in words if word not in told)])
