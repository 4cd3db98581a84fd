"""Pictures inside an HTML file, so that it can be passed on alone."""

from __future__ import annotations

import base64
import io
from pathlib import Path

QUALITY = 88  # of the JPEG, 1 to 95: a third of the PNG's size, and nothing to be seen of it


def data_uri(path: Path) -> str:
    """The picture at ``path`` as the address of an ``img``, holding it as JPEG; the file itself stays as it is."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
