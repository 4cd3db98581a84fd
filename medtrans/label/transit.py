"""Volumes on their way: uploads, and answers being sent, in a folder of this user alone; none of them stays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def transit_folder(work: Path) -> Path:
    """Make ``work/transit`` the place for temporary files, where MONAI Label's endpoints put what comes."""
    folder = work.resolve() / "transit"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tempfile.tempdir = str(folder)
    return folder


def in_transit(folder: Path, path: Any) -> bool:
    """Whether a path is that of an upload."""
    given = Path(str(path))
    return given.is_absolute() and given.resolve().parent == folder.resolve() and given.is_file()


@contextmanager
def dropped_on_failure(folder: Path, path: Any) -> Iterator[None]:
    """Remove an upload that is refused; MONAI Label removes those that are not."""
    try:
        yield
    except Exception:
        if in_transit(folder, path):
            Path(str(path)).unlink(missing_ok=True)
        raise
