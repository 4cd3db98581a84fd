"""Look for volumes that come and go below a folder, and say so once it is quiet again."""

from __future__ import annotations

import fnmatch
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler

QUIET = 0.5  # seconds without a change until the folder is looked through
COME_AND_GONE = ("created", "deleted", "moved")
logger = logging.getLogger(__name__)


class Watcher(FileSystemEventHandler):
    """Calls ``changed`` in a thread of its own after volumes or folders, at any depth, came or went, or tables changed.

    Args:
        observer: watchdog's, which is started.
        folder: what is watched, with everything below.
        volumes: patterns of the names that matter.
        tables: names of files whose content matters, too.
        changed: what is called.
    """

    def __init__(
        self,
        observer: Any,
        folder: Path,
        volumes: Sequence[str],
        tables: Sequence[str],
        changed: Callable[[], None],
    ) -> None:
        super().__init__()
        self.volumes, self.tables, self.changed = volumes, tables, changed
        self._news, self._stopped, self._observer = threading.Event(), threading.Event(), observer
        observer.schedule(self, str(folder), recursive=True)
        observer.start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._observer.stop()
        self._stopped.set()
        self._news.set()
        self._thread.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Remember that something that matters happened."""
        names = [Path(str(path)).name for path in (event.src_path, event.dest_path) if path]
        if any(name in self.tables for name in names):
            matters = event.event_type in (*COME_AND_GONE, "modified")
        else:
            volume = any(fnmatch.fnmatch(name, pattern) for name in names for pattern in self.volumes)
            matters = event.event_type in COME_AND_GONE and (event.is_directory or volume)
        if matters:
            self._news.set()

    def _run(self) -> None:
        while self._news.wait() and not self._stopped.is_set():
            while self._news.is_set():
                self._news.clear()
                self._stopped.wait(QUIET)
            if self._stopped.is_set():
                return
            try:
                self.changed()
            except Exception as error:  # a table that is half written, a folder that just went; names stay out of logs
                logger.warning("the studies could not be looked through after a change (%s)", type(error).__name__)
