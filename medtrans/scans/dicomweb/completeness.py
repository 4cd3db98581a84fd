"""Whether an image is there whole: cut off on the way, it may well be stored and read without a word."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_incomplete(image: Dataset) -> bool:
    """Whether a UID or pixels that the header describes are missing.

    What has no rows is no image and needs no pixels. Compressed pixels end with a mark, without which pydicom reads
    nothing of the image.

    Args:
        image: as read, with its pixel data.
    """
    if not all(image.get(keyword) for keyword in UIDS):
        return True
    if "Rows" not in image:
        return False
    pixels = next((image.get(keyword) for keyword in PIXELS if keyword in image), None)
    if not pixels:
        return True
    syntax = getattr(image, "file_meta", {}).get("TransferSyntaxUID", "")
    if syntax and not UID(syntax).is_private and UID(syntax).is_compressed:
        return False
    try:
        return len(pixels) < get_expected_length(image)
    except (AttributeError, TypeError, ValueError):  # the header does not say how many there must be
        return False
