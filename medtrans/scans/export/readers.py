"""Headers of many files, read by several processes: reading them is Python's work, which threads cannot share."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

from medtrans.scans.export.headers import ScanFile

Scan = Callable[[Path], ScanFile]
MANY = 400  # files from which on processes pay for their start
CHUNK = 50  # files handed over at a time
UNIQUE = {"SOPInstanceUID", "ImagePositionPatient"}  # not worth remembering for sharing


def read_all(scan: Scan, paths: Sequence[Path], workers: int) -> Iterator[ScanFile]:
    """``scan`` of every path, in order; equal values of different files are one object.

    From :data:`MANY` files on all but one of the ``workers`` are processes. They import no ``__main__``, so that
    scripts need no guard, and what one of them cannot answer is read here.
    """
    known: dict[Any, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every odd value, and quotes it
        many = len(paths) >= MANY and workers > 1
        results = _by_processes(scan, paths, workers) if many else _by_threads(scan, paths, workers)
        for file in results:
            yield shared(file, known)


def shared(file: ScanFile, known: dict[Any, Any]) -> ScanFile:
    """``file`` with values that are in ``known`` taken from there: series repeat most of theirs in every image."""
    for tags in [file.tags, *(frame.tags for frame in file.frames if frame.tags is not file.tags)]:
        for name, value in tags.items():
            if name not in UNIQUE and isinstance(value, (str, float, tuple)):
                kinds = tuple(map(type, value)) if isinstance(value, tuple) else type(value)
                with suppress(TypeError):  # sequences are dictionaries
                    tags[name] = known.setdefault((kinds, value), value)
    return file


def _by_threads(scan: Scan, paths: Sequence[Path], workers: int) -> Iterator[ScanFile]:
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(scan, paths)


def _by_processes(scan: Scan, paths: Sequence[Path], workers: int) -> Iterator[ScanFile]:
    """One thread reads here, each of the others waits for a process."""
    readers: list[_Reader | None] = [None, *(_Reader(scan) for _ in range(workers - 1))]
    free, own = list(readers), threading.local()

    def read(chunk: Sequence[Path]) -> list[ScanFile]:
        if not hasattr(own, "reader"):
            own.reader = free.pop()
        answer = own.reader.ask(chunk) if own.reader is not None else None
        return [scan(path) for path in chunk] if answer is None else answer

    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield from chain.from_iterable(pool.map(read, chunks))
    finally:
        for reader in readers:
            if reader is not None:
                reader.close()


class _Reader:
    """A process that answers lists of paths by lists of scan files."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self.process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from medtrans.scans.export.readers import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what libraries log may quote header values
            )

    def ask(self, paths: Sequence[Path]) -> list[ScanFile] | None:
        """None when the process does not answer, now or ever again."""
        if self.process is None:
            return None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            pickle.dump((self.scan, list(paths)), self.process.stdin)
            self.process.stdin.flush()
            answer: list[ScanFile] = pickle.load(self.process.stdout)
        except Exception:  # pickle raises many kinds on what is none
            self.close()
            return None
        return answer

    def close(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answer_all(questions: IO[bytes], answers: IO[bytes]) -> None:
    """What a process does until its ``questions`` end."""
    known: dict[Any, Any] = {}
    warnings.simplefilter("ignore")
    while True:
        try:
            scan, paths = pickle.load(questions)
        except EOFError:
            return
        pickle.dump([shared(scan(path), known) for path in paths], answers)
        answers.flush()


def main() -> None:
    """Answer on standard output what is asked on standard input."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not get between the answers
    with suppress(BrokenPipeError, KeyboardInterrupt):
        answer_all(sys.stdin.buffer, private)
