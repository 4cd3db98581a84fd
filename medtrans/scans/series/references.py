"""Images of one series that name unlike frames of reference or studies: one volume or several, by where they lie."""

from __future__ import annotations

from collections.abc import Sequence

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.series.planes import even, is_stack, planes

TAG = "FrameOfReferenceUID"


def by_frame_of_reference(frames: list[Frame]) -> list[tuple[list[Frame], str]]:
    """Groups of images of one kind and direction that may share a volume, each with what the user should know.

    An image without the tag says nothing against the others. Where every frame of reference holds a stack of its own,
    each is a volume. Else images that are one even stack together are one volume: the scanner does not give a patient
    another place between two slices, whoever changed the tag on the way did.

    Raises:
        InputError: neither is so.
    """
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(str(frame.tags.get(TAG) or ""), []).append(frame)
    if len(groups) == 1:
        return [(frames, "")]
    missing, named = len(groups.get("", ())), len(groups) - ("" in groups)
    told = f"{TAG} is missing in {missing} of {len(frames)} images" if missing else ""
    one_scan = is_one_scan(frames, TAG)
    if all(map(is_stack, groups.values())) and not (named == 1 and one_scan):
        told = told or f"the series holds stacks of {named} different {TAG}"
        return [(group, f"{told}: each stack is a volume") for group in groups.values()]
    if named == 1:
        return [(frames, f"{told}: taken for that of the others")]
    told = f"{named} different {TAG} in {len(frames)} images"
    if one_scan or all(len(planes(group)) == 1 for group in groups.values()):
        return [(frames, f"{told} of one stack: alignment with other series is unknown")]
    fewest = min(map(len, groups.values()))
    raise InputError(
        "series",
        f"{told}, the rarest in {fewest}: neither one even stack nor one for each",
        "Export each scan as a series of its own",
    )


def is_one_scan(frames: Sequence[Frame], tag: str) -> bool:
    """Whether images that differ in ``tag`` are one even stack, of which no plane has two values of it."""
    gathered = planes(frames)
    return even(gathered) and all(len({frame.tags.get(tag) for frame in plane}) == 1 for plane in gathered)
