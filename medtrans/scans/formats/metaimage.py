"""Whether a MetaImage header is one: MetaIO, which ITK reads it with, ends its process on some that are not."""

from __future__ import annotations

import math

# Key -> how many numbers it holds, as a power of the number of dimensions.
NUMBERS = {
    "DimSize": 1, "ElementSpacing": 1, "ElementSize": 1, "Offset": 1, "Position": 1, "Origin": 1,
    "CenterOfRotation": 1, "TransformMatrix": 2, "Rotation": 2, "Orientation": 2, "ElementNumberOfChannels": 0,
    "HeaderSize": 0, "CompressedDataSize": 0, "ElementMin": 0, "ElementMax": 0,
}  # fmt: skip
DIMENSIONS = {"2": 2, "3": 3, "4": 4}


def is_sound(head: bytes) -> bool:
    """Whether every line up to ElementDataFile says ``key = value``, with as many numbers as it must have."""
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines():
        key, sign, value = (text.strip() for text in line.partition("="))
        if not sign or not key or "\0" in line:
            return False
        if key in fields:
            return False
        fields[key] = value
        if key == "ElementDataFile":
            break
    dimensions = DIMENSIONS.get(fields.get("NDims", ""))
    if dimensions is None or not {"DimSize", "ElementType", "ElementDataFile"} <= set(fields):
        return False
    sizes = fields["DimSize"].split()
    return all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes) and all(
        _holds(fields[key], dimensions**power) for key, power in NUMBERS.items() if key in fields
    )


def _holds(text: str, count: int) -> bool:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return False
    return len(numbers) == count and all(map(math.isfinite, numbers))
