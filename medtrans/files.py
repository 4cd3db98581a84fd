"""Write a file whole or not at all: to a temporary name beside it, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medtrans.errors import InputError

ABANDONED = ".partial-*"
REMEDY = "Choose a folder that you may write to"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room on this disk, or choose another"),
    errno.ENAMETOOLONG: "Use shorter names",
}
UNWRITABLE = {
    *REMEDIES, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR
}  # fmt: skip


def unwritable(path: str | os.PathLike[str], error: OSError) -> InputError:
    """What to tell of a file or folder that cannot be written, and what to do about it."""
    remedy = REMEDIES.get(error.errno or 0, REMEDY)
    return InputError(path, f"cannot be written ({error.strerror or error})", remedy)


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` with the same suffixes; rename it to ``path`` when the block succeeds.

    A killed or failing writer leaves ``path`` as it was. Parent folders are made.

    Raises:
        InputError: the file cannot be written: no permission, a file in the place of a folder, no room.
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in UNWRITABLE and error.filename != str(temporary):
            raise  # of another file
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # nothing was written, and the error above says why
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new temporary folder beside ``folder``; rename it to ``folder`` when the block succeeds.

    A killed or failing writer leaves no ``folder``. One that is there already is never touched.

    Raises:
        InputError: the folder exists already, or cannot be written.
    """
    folder = Path(folder)
    if _is_there(folder):
        raise InputError(folder, "exists already", "Move it away, or choose another folder to write to")
    temporary = folder.with_name(f".partial-{secrets.token_hex(4)}-{folder.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, folder)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Say at the beginning of long work that its output cannot be written; leaves nothing behind.

    The folder, or the first one above it that is there, is tried: what permissions say is not the whole truth.

    Raises:
        InputError: a file is in the place of ``folder`` or of one above it, or no file can be made there.
    """
    try:
        place = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if _is_there(place))
        if not place.is_dir():
            raise InputError(folder, f"cannot be written ({place} is no folder)", REMEDY)
        tempfile.TemporaryFile(prefix=".medtrans-", dir=place).close()
    except OSError as error:
        raise unwritable(folder, error) from error


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files and folders that killed writers left in ``folder`` (not below it)."""
    for path in Path(folder).glob(ABANDONED):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, read in pieces: weights are hundreds of megabytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files_by_content(record: Any) -> Any:
    """A JSON-ready record in which files stand by name and content: nothing of where they lay, and a change shows.

    Args:
        record: a string that is the path of a file, with a suffix, becomes ``"poses.csv (sha256 6b86b273ff34fce1)"``.
    """
    if isinstance(record, dict):
        return {key: files_by_content(value) for key, value in record.items()}
    if isinstance(record, list):
        return [files_by_content(value) for value in record]
    if isinstance(record, str) and Path(record).suffix and os.path.isfile(record):
        return f"{Path(record).name} (sha256 {file_hash(record)[:16]})"
    return record
