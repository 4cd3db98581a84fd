"""A zip that depends on its content alone: sorted names, no times, no compression (weights do not shrink)."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrans.files import file_hash, written_whole

MANIFEST = "manifest.json"
FORMAT = 1
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can say
Content = bytes | Path


def manifest(contents: Mapping[str, Content], **said: Any) -> bytes:
    """Hash and size of every file, and what else is to be said of the bundle, as JSON."""
    files = {name: {"sha256": _hash(content), "bytes": _size(content)} for name, content in sorted(contents.items())}
    return as_json({"format": FORMAT, **said, "files": files})


def as_json(content: Any) -> bytes:
    """As people read it."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def write_archive(path: Path, folder: str, contents: Mapping[str, Content]) -> Path:
    """Write the files into ``path`` below ``folder``; the same contents give the same bytes.

    Args:
        path: the zip, written whole or not at all.
        folder: the only one at the top of the zip.
        contents: name below it -> bytes, or the file that holds them.

    Raises:
        InputError: it cannot be written.
    """
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", EPOCH)
            entry.create_system, entry.external_attr, entry.file_size = 3, 0o100644 << 16, _size(content)
            with archive.open(entry, "w") as target:
                if isinstance(content, bytes):
                    target.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, target, 1 << 20)
    return path


def _hash(content: Content) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else file_hash(content)


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
