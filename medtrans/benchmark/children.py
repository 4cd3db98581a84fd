"""The commands that a benchmark has running, and the lock that keeps two of them out of one folder."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from medtrans.errors import InputError
from medtrans.files import REMEDY

logger = logging.getLogger(__name__)
SECONDS_TO_END = 10  # between asking a command to end and ending it


class Children:
    """The commands that are running; ends all of them when the benchmark ends."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen] = set()
        self.lock = threading.Lock()
        self.stopped = False

    def run(self, words: Sequence[str], log: IO[bytes], environment: Mapping[str, str], keep_open: int) -> int:
        """Run a command to its end and return its exit code; -2 when the benchmark is being stopped.

        The command holds ``keep_open``, its folder's lock: should it outlive the benchmark, nobody else works there.
        """
        with self.lock:
            if self.stopped:
                return -2
            child = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=dict(environment),
                pass_fds=(keep_open,),
            )  # fmt: skip
            self.running.add(child)
        try:
            return child.wait()
        finally:
            with self.lock:
                self.running.discard(child)

    def stop(self) -> None:
        """End every command, and let no new one begin."""
        with self.lock:
            self.stopped = True
            ending = list(self.running)
        for child in ending:
            child.terminate()
        for child in ending:
            try:
                child.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                child.kill()


@contextmanager
def alone_in(folder: Path) -> Iterator[int]:
    """Hold the folder's lock, and give its file number; waits for commands that a killed benchmark left working."""
    try:
        number = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(folder, f"cannot be written ({error.strerror})", REMEDY) from error
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("%s: waiting for another process that works there", folder)
            fcntl.flock(number, fcntl.LOCK_EX)
        yield number
    finally:
        os.close(number)
