"""Compressed pixels decoded in a process of their own: a decoder that dies or hangs takes only its image along.

The decoders are C and C++ libraries; some end their process on damaged data (an exception nobody can catch), and a
conversion of thousands of series must not end with it.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PATIENCE = 60.0, 2e-7  # seconds a file, and seconds a byte of it (a multi-frame file takes its time)


class DecoderError(RuntimeError):
    """What a decoder said, or that it died or did not answer."""


class Decoder:
    """A process that decodes one file at a time, started when first needed and again when it has died."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        # By its path, not as a module: the package around it would take longer to import than all it needs.
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def decode(self, path: Path, transfer_syntax: str, whole_words: bool) -> np.ndarray:
        """Stored values of a file, (frames, rows, columns).

        Raises:
            DecoderError: they cannot be decoded.
        """
        import numpy as np

        question = json.dumps({"path": os.fspath(path), "syntax": transfer_syntax, "whole_words": whole_words})
        try:
            _pipe(self.process.stdin).write(question.encode() + b"\n")
            _pipe(self.process.stdin).flush()
            self._wait(PATIENCE[0] + PATIENCE[1] * path.stat().st_size)
            answer = json.loads(_pipe(self.process.stdout).readline() or "{}")
        except BrokenPipeError:
            answer = {}
        if "error" in answer:
            raise DecoderError(answer["error"])
        if "shape" in answer:
            data = _pipe(self.process.stdout).read(answer["bytes"])
            if len(data) == answer["bytes"]:
                return np.frombuffer(data, answer["dtype"]).reshape(answer["shape"])
        self.close()
        raise DecoderError("the decoder died on it")

    def _wait(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(_pipe(self.process.stdout), selectors.EVENT_READ)
            if not selector.select(seconds):
                self.close()
                raise DecoderError(f"the decoder did not finish within {seconds:.0f} s")

    @property
    def alive(self) -> bool:
        """Whether it can be asked again, by this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        """End the process."""
        if self.owner != os.getpid():  # a fork inherited it; it is the parent's
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


IDLE: list[Decoder] = []  # append and pop are atomic: threads share them


def decode_apart(path: Path, transfer_syntax: str = "", whole_words: bool = False) -> np.ndarray:
    """Stored values of a DICOM file, (frames, rows, columns), decoded in another process.

    Args:
        path: the file.
        transfer_syntax: where the file itself does not say it.
        whole_words: keep bits above BitsStored as they are.

    Raises:
        DecoderError: they cannot be decoded.
    """
    while True:
        try:
            decoder = IDLE.pop()
        except IndexError:
            decoder = Decoder()
        if decoder.alive:
            break
    try:
        return decoder.decode(path, transfer_syntax, whole_words)
    finally:
        if decoder.alive:
            IDLE.append(decoder)


def _end_all() -> None:
    while IDLE:
        IDLE.pop().close()


atexit.register(_end_all)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# ------------------------------------------------------------------------------------------- in the other process


def answer_questions() -> None:
    """Decode the files named on standard input until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a C library prints must not mix with the answers
    for line in sys.stdin.buffer:
        try:
            pixels = _decode(json.loads(line))
        except Exception as error:  # decoders raise many kinds
            answers.write(json.dumps({"error": str(error) or type(error).__name__}).encode() + b"\n")
        else:
            data = pixels.tobytes()
            head: dict[str, Any] = {"dtype": pixels.dtype.str, "shape": pixels.shape, "bytes": len(data)}
            answers.write(json.dumps(head).encode() + b"\n" + data)
        answers.flush()


def _decode(question: dict[str, Any]) -> np.ndarray:
    import pydicom
    from pydicom.pixels import pixel_array

    dataset = pydicom.dcmread(question["path"], force=True)
    if question["syntax"]:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(question["syntax"])
    pixels = pixel_array(dataset, correct_unused_bits=not question["whole_words"])
    return pixels.reshape(-1, *pixels.shape[-2:])


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its modules are not to be taken for top-level ones
    answer_questions()
