"""Write a file whole or not at all: to a temporary name beside it, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, f"no permission to write {path.parent}")
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        remedy = REMEDIES.get(error.errno, REMEDY)
        raise InputError(path, f"cannot be written ({error.strerror or error})", remedy) from error
    finally:
        with suppress(OSError):  # nothing was written, and the error above says why
            temporary.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Say at the beginning of long work that its output cannot be written; makes nothing.

    Raises:
        InputError: a file is in the place of ``folder`` or of one above it, or there is no permission.
    """
    for place in (Path(folder).absolute(), *Path(folder).absolute().parents):
        if place.exists() or place.is_symlink():
            if place.is_dir() and os.access(place, os.W_OK):
                return
            problem = "no permission" if place.is_dir() else f"{place} is no folder"
            raise InputError(folder, f"cannot be written ({problem})", REMEDY)


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed writers left in ``folder`` (not below it)."""
    for path in Path(folder).glob(ABANDONED):
        path.unlink(missing_ok=True)


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, read in pieces: weights are hundreds of megabytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
