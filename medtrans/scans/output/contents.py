"""What files hold, by a hash of their bytes; files that nobody touched since are not read again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from medtrans.files import file_hash, written_whole

SETTLED = 2 * 10**9  # ns after a change from which on another one must show in the time stamps of any file system


class Contents:
    """SHA-256 of files, remembered by device, inode, size and the times of the last change of content and status.

    Neither names nor paths are stored. A file that was moved, copied or touched is read again and recognised by its
    content; one that was changed is noticed even if its size and modification time were put back.

    Args:
        path: where they are remembered between runs, None for nowhere; a file that cannot be understood counts as
            empty.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.used: dict[str, str] = {}
        self.known: dict[str, str] = {}
        if path is None:
            return
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            self.known = {str(key): str(value) for key, value in known.items()}
        except (OSError, ValueError, AttributeError):
            self.known = {}

    def hash(self, path: Path) -> str:
        """SHA-256 of what ``path`` holds.

        Raises:
            OSError: it cannot be read.
        """
        state = path.stat()
        key = _identity(state)
        known = self.used.get(key) or self.known.get(key)
        if known is None:
            settled = time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED
            known = file_hash(path)
            if not settled or _identity(path.stat()) != key:
                return known
        self.used[key] = known
        return known

    def save(self) -> None:
        """Remember the files asked for since the beginning, and no others."""
        if self.path is None:
            return
        with written_whole(self.path) as temporary:
            temporary.write_text(json.dumps(self.used), encoding="utf-8")


def _identity(state: os.stat_result) -> str:
    return f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}"
