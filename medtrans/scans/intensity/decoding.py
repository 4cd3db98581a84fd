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

    def decode(self, path: Path) -> np.ndarray:
        """Stored values of a file, (frames, rows, columns).

        Raises:
            DecoderError: they cannot be decoded.
        """
        import numpy as np

        try:
            _pipe(self.process.stdin).write(json.dumps(os.fspath(path)).encode() + b"\n")
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


def decode_apart(path: Path) -> np.ndarray:
    """Stored values of a DICOM file with compressed pixels, (frames, rows, columns), decoded in another process.

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
        return decoder.decode(path)
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


def _decode(path: str) -> np.ndarray:
    import pydicom
    from pydicom.pixels import pixel_array

    dataset = pydicom.dcmread(path, force=True)
    if dataset.file_meta.TransferSyntaxUID == pydicom.uid.JPEGExtended12Bit and dataset.BitsStored > 8:
        return _by_gdcm(path, dataset.PixelRepresentation == 1)
    return frames_of(pixel_array(dataset))


def _by_gdcm(path: str, signed: bool) -> np.ndarray:
    """12-bit lossy JPEG: GDCM decodes it, though pydicom does not let it."""
    import gdcm
    import numpy as np

    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    if not reader.Read():
        raise RuntimeError("GDCM cannot read it")
    image = reader.GetImage()
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    stored = np.frombuffer(buffer, np.int16 if signed else np.uint16)
    return stored.reshape(-1, image.GetDimension(1), image.GetDimension(0))


def frames_of(pixels: np.ndarray) -> np.ndarray:
    """Pixels of one frame or several as (frames, rows, columns)."""
    return pixels.reshape(-1, *pixels.shape[-2:])


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its modules are not to be taken for top-level ones
    answer_questions()
