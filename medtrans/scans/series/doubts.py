"""What looks as if volumes of a series were halves, or had lost slices: told, not judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtrans.scans.export.frames import Frame
from medtrans.scans.series.localizers import NotAVolume
from medtrans.scans.series.planes import SAME_PLANE, STACK, planes
from medtrans.scans.space.distances import is_even

if TYPE_CHECKING:
    from medtrans.scans.series.parts import Part

PARALLEL = 0.999  # cosine between the normals of volumes that might be halves of one
ALIKE = 3  # volumes of one kind, at least, of which a shorter one stands out
Planes = Sequence[Sequence[Frame]]


def tell_doubts(parts: Sequence[Part]) -> None:
    """Add to the notes of the volumes among ``parts``, which are all those of one series, what looks doubtful."""
    volumes = [(part, planes(part.frames)) for part in parts if part.verdict is None]
    images = sum(len(part.frames) for part in parts if not isinstance(part.verdict, NotAVolume))
    numbers = {frame.tags.get("InstanceNumber") for part in parts for frame in part.frames}
    usual = _usual_counts(volumes)
    for own, (part, stack) in enumerate(volumes):
        others = [other for n, (_, other) in enumerate(volumes) if n != own and _parallel(stack, other)]
        if any(_one_stack([stack, other]) for other in others) or _one_stack([stack, *others]):
            part.notes.append("together with another volume of its series it is one even stack: halves of one?")
        if len(stack) < STACK and len(part.frames) < images / 2:
            part.notes.append(f"holds {len(part.frames)} of {images} images of its series")
        most = usual.get(_kind(stack), 0)
        if len(stack) < most:
            part.notes.append(f"has {len(stack)} slices, others of its series {most}: are some missing?")
        step = _step(stack, numbers)
        if step > 1:
            part.notes.append(f"InstanceNumber counts in steps of {step}: are slices between them missing?")


def _parallel(one: Planes, other: Planes) -> bool:
    return bool(abs(one[0][0].normal @ other[0][0].normal) > PARALLEL)


def _one_stack(stacks: Sequence[Planes]) -> bool:
    """Whether several parallel stacks, with no plane in common, are at even distances together."""
    normal = stacks[0][0][0].normal
    along = np.sort([float(normal @ np.array(plane[0].position)) for stack in stacks for plane in stack])
    if len(stacks) < 2 or len(along) <= STACK:
        return False
    return bool(np.diff(along).min() > SAME_PLANE) and is_even(along)


def _kind(stack: Planes) -> tuple[object, ...]:
    first = stack[0][0]
    return first.shape, first.kind, first.orientation, first.spacing


def _usual_counts(volumes: Sequence[tuple[Part, Planes]]) -> dict[tuple[object, ...], int]:
    """How many planes all but one of the volumes of a kind have, where these are enough to tell."""
    counts: dict[tuple[object, ...], Counter[int]] = {}
    for _, stack in volumes:
        counts.setdefault(_kind(stack), Counter())[len(stack)] += 1
    usual = {kind: count.most_common(1)[0] for kind, count in counts.items() if count.total() >= ALIKE}
    return {kind: most for kind, (most, times) in usual.items() if times == counts[kind].total() - 1}


def _step(stack: Planes, numbers: set[object]) -> int:
    """By how much InstanceNumber grows from slice to slice where no image has the numbers between; else 1."""
    own = [number for plane in stack if isinstance(number := plane[0].tags.get("InstanceNumber"), int)]
    if len(own) < len(stack) or len(stack) <= STACK or max(map(len, stack)) > 1:
        return 1
    steps = np.unique(np.diff(own))
    if len(steps) > 1 or abs(steps[0]) < 2:
        return 1
    between = set(range(min(own), max(own))) - set(own)
    return 1 if between & numbers else int(abs(steps[0]))
