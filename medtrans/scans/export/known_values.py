"""Header values understood before: the images of a series repeat most of their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

SHORT = 200  # bytes of a value worth remembering
MOST = 20_000  # values remembered
UNIQUE = {"SOPInstanceUID", "ImagePositionPatient"}  # differ in every image
_known: dict[Any, Any] = {}
_known_tags: dict[BaseTag, bool] = {}


def remembered(dataset: Dataset, tag: BaseTag, name: str, understand: Callable[[], Any]) -> Any:
    """``understand()``, or what it returned for the same bytes of the same tag in an earlier data set.

    Everything that pydicom's reading of a value depends on is part of the key; values of which the data type depends
    on other tags (US or SS) are not remembered. What is returned must not be changed.
    """
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement) or name in UNIQUE or not _depends_on_itself(tag):
        return understand()
    content = raw.value
    if not isinstance(content, bytes) or len(content) > SHORT:
        return understand()
    characters = str(dataset.original_character_set)
    key = tag, name, raw.VR, content, raw.is_implicit_VR, raw.is_little_endian, characters
    if key in _known:
        return _known[key]
    value = understand()
    if len(_known) >= MOST:
        _known.clear()
    _known[key] = value
    return value


def _depends_on_itself(tag: BaseTag) -> bool:
    """Whether the data type of a tag is its own, and no sequence."""
    if tag not in _known_tags:
        try:
            kind = dictionary_VR(tag)
        except KeyError:  # private: pydicom takes its type from the creator, which is part of where it stands
            kind = "UN"
        _known_tags[tag] = " or " not in kind and kind != "SQ"
    return _known_tags[tag]
