"""Damaged series judged in a process of their own, so that one that dies or hangs is a verdict too."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import random
import shutil
import tempfile
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

import SimpleITK
from damage import DAMAGES, retag
from truth import WrongVolumeError, check_dicom, check_image

from medtrans import InputError
from medtrans.scans import Conversion, read_series

SECONDS = 20.0  # a case that takes longer hangs


def one_case(base: Path, seed: str, scratch: Path) -> str:
    """Damage one file of ``base``, read the series, and say what came of it."""
    chance = random.Random(seed)
    paths = sorted(base.iterdir())
    victim = chance.randrange(len(paths))
    data = paths[victim].read_bytes()
    header = max(data.find(b"\xe0\x7f\x10\x00"), 132) if data[128:132] == b"DICM" else min(400, len(data))
    damage = chance.choice(DAMAGES if data[128:132] == b"DICM" else [d for d in DAMAGES if d is not retag])
    try:
        damaged = damage(data, chance, header)
    except Exception:  # pydicom will not write this one
        return "not made"
    broken = scratch / paths[victim].name
    broken.write_bytes(damaged)
    given = [broken if number == victim else path for number, path in enumerate(paths)]
    if base.parent.name == "images":  # parts find each other by their names
        given = [Path(shutil.copy(path, scratch)) if path != broken else path for path in given]
    try:
        volumes = read_series(given, Conversion(pet_unit="bqml"))
    except InputError:
        return "refused"
    if base.parent.name == "images":
        check_image(next(path for path in given if path.suffix not in (".img", ".REC", ".raw")), volumes[0])
        return "right"
    for volume in volumes:
        check_dicom(volume)
    used = {frame.file.path for volume in volumes for time in volume.frames for frame in time}
    return "right" if broken in used else "right without the damaged file"


def work(pipe: Connection, bases: list[Path]) -> None:
    """Judge the cases that come through the pipe until it closes."""
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                base, seed = pipe.recv()
            except EOFError:
                return
            scratch = Path(folder, "case")
            scratch.mkdir(exist_ok=True)
            try:
                verdict = one_case(bases[base], seed, scratch)
            except WrongVolumeError as error:
                verdict = f"WRONG VOLUME: {error}"
            except Exception as error:
                own = [
                    step for step in traceback.extract_tb(error.__traceback__) if "site-packages" not in step.filename
                ]
                place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
                verdict = f"CRASH: {type(error).__name__} in {place}: {error}"[:300]
            pipe.send(verdict)
            for path in scratch.iterdir():
                path.unlink()


class Worker:
    """A process that judges one case at a time, started again when it dies or hangs."""

    def __init__(self, bases: list[Path]) -> None:
        self.bases = bases
        self.start()

    def start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, self.bases))
        self.process.start()
        theirs.close()

    def judge(self, base: int, seed: str) -> str:
        self.pipe.send((base, seed))
        try:
            if self.pipe.poll(SECONDS):
                return str(self.pipe.recv())
            verdict = f"HANG: more than {SECONDS:g} s"
        except (EOFError, ConnectionError):
            self.process.join()
            verdict = f"DIED: exit code {self.process.exitcode}"
        self.process.kill()
        self.start()
        return verdict

    def stop(self) -> None:
        self.process.kill()
