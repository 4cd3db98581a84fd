"""Private elements that are known to hold numbers about the image and nothing else: PS3.15 E.3.10, and what we read."""

from __future__ import annotations

import re
from contextlib import suppress

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from medtrans.scans.deidentify.dates import shifted
from medtrans.scans.export.headers import PRIVATE

# Table E.3.10-1, of MR, CT and PET: creator -> (group, elements within its block)
LISTED: dict[str, tuple[tuple[int, tuple[int, ...]], ...]] = {
    "Philips PET Private Group": ((0x7053, (0x00, 0x09)),),
    "Philips MR Imaging DD 001": ((0x2005, (0x0D, 0x0E)),),
    "Philips Imaging DD 001": ((0x2001, (0x03,)),),
    "SIEMENS MR HEADER": ((0x0019, (0x0C, 0x0E, 0x27)),),
    "GEMS_ACQU_01": ((0x0019, (0x23, 0x24, 0x27)),),
    "GEMS_SERS_01": ((0x0025, (0x07,)),),
    "GEMS_PARM_01": ((0x0043, (0x39, 0x6F)),),
    "GEMS_HELIOS_01": ((0x0045, (0x01, 0x02)),),
    "ELSCINT1": ((0x00E1, (0x21,)), (0x01F1, (0x07, 0x26, 0x27))),
}
SAFE = {(creator, group, element): "" for creator, groups in LISTED.items() for group, own in groups for element in own}
SAFE |= {(creator, group, element): kind for (group, element), (creator, kind, _) in PRIVATE.items()}
BINARY = {"SS": 2, "US": 2, "SL": 4, "UL": 4, "FL": 4, "FD": 8}  # bytes of one number
NUMERIC = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def safe_elements(dataset: Dataset, days: int | None) -> set[BaseTag]:
    """Tags of the private elements, and of their creators, that may stay; dates among them are moved in place.

    Args:
        dataset: one level of a data set.
        days: to move dates by; None where no date may stay.
    """
    safe: set[BaseTag] = set()
    for tag in [tag for tag in dataset.keys() if tag.is_private and tag.element > 0xFF]:  # noqa: SIM118
        owner = Tag(tag.group, tag.element >> 8)
        creator = str(dataset[owner].value).strip() if owner in dataset else ""
        kind = SAFE.get((creator, tag.group, tag.element & 0xFF))
        if kind is None:
            continue
        with suppress(ValueError, TypeError, NotImplementedError):  # a value that cannot be understood does not stay
            if _moved(dataset, tag, days) if kind == "DT" else _is_numeric(dataset, tag, kind):
                safe |= {tag, owner}
    return safe


def _is_numeric(dataset: Dataset, tag: BaseTag, kind: str) -> bool:
    """Whether an element holds numbers by its value, whatever its type says."""
    value = dataset[tag].value
    if isinstance(value, bytes):  # implicit VR of which pydicom does not know the type
        size = BINARY.get(kind)
        return len(value) % size == 0 if size else _all_numeric(value.decode("latin-1").strip("\0 ").split("\\"))
    values = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    if all(isinstance(one, (int, float, np.number)) and not isinstance(one, bool) for one in values):
        return True
    return _all_numeric([str(one) for one in values])


def _all_numeric(texts: list[str]) -> bool:
    return all(NUMERIC.fullmatch(text) is not None and len(text) <= 16 for text in texts)


def _moved(dataset: Dataset, tag: BaseTag, days: int | None) -> bool:
    if days is None:
        return False
    value = dataset[tag].value
    text = value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else str(value)
    moved = shifted(text, "DT", days)
    if moved:
        dataset[tag].value = moved.encode() if isinstance(value, bytes) else moved
    return bool(moved)
