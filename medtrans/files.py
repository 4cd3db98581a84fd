"""Write a file whole or not at all: to a temporary name beside it, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medtrans.errors import InputError


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` with the same suffixes; rename it to ``path`` when the block succeeds.

    A killed or failing writer leaves ``path`` as it was. Parent folders are made.

    Raises:
        InputError: the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".partial-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"no permission to write {path.parent}")
        yield temporary
        os.replace(temporary, path)
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        reason = error.strerror or str(error)
        raise InputError(path, f"cannot be written ({reason})", "Choose a folder that you may write to") from error
    finally:
        with suppress(NotADirectoryError):  # the folder is a file: nothing was written, the error above says so
            temporary.unlink(missing_ok=True)
