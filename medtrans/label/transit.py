"""Volumes on their way: uploads, and answers being sent, in a folder of this user alone; none of them stays."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import UploadFile

ENDING = re.compile(r"(\.nii)?\.\w{1,8}$")


class RequestFolder:
    """What comes and goes with one request.

    Args:
        path: a folder of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.kept = path, False

    def received(self, file: UploadFile) -> Path:
        """Write an upload under a name of ours: those of clients name patients."""
        ending = ENDING.search(file.filename or ".nii.gz")
        path = self.path / f"volume{ending[0].lower() if ending else ''}"
        with path.open("wb") as out:
            shutil.copyfileobj(file.file, out)
        return path

    def keep(self) -> None:
        """Leave it to whoever sends the answer to call :meth:`remove`."""
        self.kept = True

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


class Transit:
    """The place of all requests of one server, and of its temporary files.

    Args:
        work: the server's folder.
    """

    def __init__(self, work: Path) -> None:
        self.folder = work.resolve() / "transit"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.tempdir = str(self.folder)

    def clear(self) -> None:
        """Remove what a killed server left."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def request(self) -> Iterator[RequestFolder]:
        """A folder for one request, removed when it ends, or when its answer is sent."""
        folder = RequestFolder(Path(tempfile.mkdtemp(dir=self.folder)))
        try:
            yield folder
        finally:
            if not folder.kept:
                folder.remove()
