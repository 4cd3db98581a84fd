"""A name for the images that a volume is made of, by which they are found again, without their UIDs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from medtrans.scans.export.frames import Frame


def images_hash(frames: Iterable[Frame]) -> str:
    """The same for the same images, wherever they lie: 16 hexadecimal digits.

    Whoever has the images can make it, too; nobody can lead it back to a UID.
    """
    names = sorted(f"{frame.tags.get('SOPInstanceUID', '')}#{frame.index}" for frame in frames)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
