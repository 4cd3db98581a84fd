"""Images that only plan a scan, or turn about an axis: told from the volumes of a series."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.planes import planes

PLANNING = re.compile(r"loc(ali[sz]er)?\b|scout|survey|topogram|3[ -_]?(pl|plane)\b|three[ -_]?plane|pilot|planning",
                      re.IGNORECASE)  # fmt: skip
NAMED_PLANES = 32  # slices a direction, at most, of a localizer that is called one
FEW_PLANES = 5  # ... of three directions or more that are not called so
FEWEST_PLANES = 3  # ... of two directions
BALANCED = 3  # none of them with more than this many times the slices of another
RADIAL = 4  # directions, at least, with a slice or two each about a common axis
OBLIQUE = 20.0  # degrees between two directions for them to count as different


class NotAVolume(InputError):  # noqa: N818 - a verdict on good input, not a fault of it
    """Images that are in order but not meant to become a volume: localizers, scouts, too few slices."""


def mark_localizers(groups: Sequence[Sequence[Frame]]) -> list[NotAVolume | None]:
    """For every group of parallel images of one series: why it is no volume, or None.

    By ImageType; by several directions with few slices, fewer than an acquisition in two directions has, unless the
    series is called a localizer; by single slices that turn about an axis (radial MRCP, rotating long axes); by one or
    two slices across a series.
    """
    verdicts: list[NotAVolume | None] = [
        _verdict("localizer (by its ImageType)")
        if {"LOCALIZER", "SCOUT"} & {str(word).upper() for word in group[0].tags.get("ImageType", ())}
        else None
        for group in groups
    ]
    left = [number for number, verdict in enumerate(verdicts) if verdict is None]
    own = [groups[number] for number in left]
    counts = [len(planes(group)) for group in own]
    text = _radial(own, counts) or _several_directions(own, counts)
    for number, group, count in zip(left, own, counts, strict=True):
        if text:
            verdicts[number] = _verdict(text)
        elif _crosses(group, count, own, counts):
            verdicts[number] = _verdict(f"scout: {count} slices across a series of {max(counts)}")
    return verdicts


def _verdict(text: str) -> NotAVolume:
    return NotAVolume("series", text, "Nothing to do")


def _several_directions(groups: Sequence[Sequence[Frame]], counts: Sequence[int]) -> str:
    """Why groups in several directions are a localizer, empty when they are acquisitions of their own."""
    normals: list[np.ndarray] = []
    for group in groups:
        if all(_apart(group[0].normal, normal) for normal in normals):
            normals.append(group[0].normal)
    if len(normals) < 2:
        return ""
    told = f"localizer: {len(normals)} directions with {', '.join(map(str, sorted(counts)))} slices"
    words = " ".join(str(groups[0][0].tags.get(name, "")) for name in ("SeriesDescription", "ProtocolName"))
    if PLANNING.search(words.replace("_", " ")) and max(counts) <= NAMED_PLANES:
        return told
    most = FEW_PLANES if len(normals) > 2 else FEWEST_PLANES
    return told if max(counts) <= most and max(counts) <= BALANCED * min(counts) else ""


def _radial(groups: Sequence[Sequence[Frame]], counts: Sequence[int]) -> str:
    """Why planes that turn about one axis are no volume, empty where they do not."""
    if len(groups) < RADIAL or max(counts) > 2:
        return ""
    normals = np.array([group[0].normal for group in groups])
    _, spread, axes = np.linalg.svd(normals, full_matrices=False)
    if spread[2] > 0.02 * spread[0] or spread[1] < 0.1 * spread[0]:
        return ""
    angles = np.degrees(np.arctan2(normals @ axes[1], normals @ axes[0])) % 180
    if len(np.unique(np.round(angles))) < RADIAL:
        return ""
    return f"rotating planes: {len(groups)} directions about one axis with {max(counts)} slices each, no common grid"


def _crosses(group: Sequence[Frame], count: int, groups: Sequence[Sequence[Frame]], counts: Sequence[int]) -> bool:
    """Whether one or two slices lie across the largest group."""
    largest = int(np.argmax(counts))
    return count <= 2 and counts[largest] > count and _apart(group[0].normal, groups[largest][0].normal)


def _apart(one: np.ndarray, other: np.ndarray) -> bool:
    return abs(float(one @ other)) < np.cos(np.radians(OBLIQUE))
