"""Pairs of a datastore as cases to prepare: links to their volumes, under names that say nothing of people."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrans.errors import InputError

SIDES = {"image": "SOURCE", "label": "TARGET"}  # key of a pair -> name of the link
FILE = "{{subject}}/{{session}}/{side}.*"  # pattern in a recipe, of the volume and its sidecar
CHOOSE = "last"  # of these two: .json comes before every ending of a volume
ENDING = re.compile(r"\.(nii|nii\.gz|nrrd|mha)$", re.IGNORECASE)
LENGTH = 10  # hexadecimal digits of a name


@dataclass(frozen=True)
class PairedCase:
    """A source volume and the target volume of the same subject.

    Attributes:
        subject: hash of who it is.
        session: hash of which source volume it is.
        volumes: the files, by ``"image"`` and ``"label"``.
        problem: why it cannot be used; empty where it can.
    """

    subject: str
    session: str
    volumes: Mapping[str, Path]
    problem: str = ""

    @property
    def name(self) -> str:
        """As the prepared case is called."""
        return f"{self.subject}_{self.session}"

    def stamp(self) -> list[Any]:
        """Changes with the files."""
        known = [path for volume in self.volumes.values() for path in (volume, sidecar_of(volume)) if path.is_file()]
        return [self.name, *((path.stat().st_size, path.stat().st_mtime_ns) for path in known)]


def paired_cases(pairs: Iterable[Mapping[str, Any]]) -> list[PairedCase]:
    """The cases of a datastore's list of pairs, in the order of their names.

    Args:
        pairs: ``{"image": path of the source volume, "label": path of the target volume}``, perhaps with ``"subject"``,
            who it is; else the sidecar beside the image says it (``patient``), and without one each image is of another
            subject.

    Raises:
        InputError: an entry has no image or no label.
    """
    found: dict[str, PairedCase] = {}
    for pair in pairs:
        if not pair.get("image") or not pair.get("label"):
            raise InputError("a pair of the studies", "lacks its image or its label", "Give both for each")
        case = _case({key: Path(pair[key]).absolute() for key in SIDES}, str(pair.get("subject") or ""))
        found[case.name] = case
    return [found[name] for name in sorted(found)]


def _case(volumes: Mapping[str, Path], subject: str) -> PairedCase:
    image = volumes["image"]
    who = subject or _patient(image) or str(image)
    problem = next((text for key, path in volumes.items() if (text := _problem(key, path))), "")
    return PairedCase(_hash(f"subject {who}"), _hash(str(image)), volumes, problem)


def _problem(key: str, path: Path) -> str:
    if not ENDING.search(path.name):
        return f"the {SIDES[key].lower()} is no NIfTI, NRRD or MetaImage volume"
    return "" if path.is_file() else f"the {SIDES[key].lower()} does not exist"


def _patient(image: Path) -> str:
    try:
        content = json.loads(sidecar_of(image).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(content.get("patient") or "") if isinstance(content, dict) else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def sidecar_of(volume: Path) -> Path:
    """``x.json`` for ``x.nii.gz``, whether it is there or not."""
    return volume.with_name(ENDING.sub("", volume.name) + ".json")


def arrange(cases: Iterable[PairedCase], folder: Path) -> None:
    """Link the volumes, and the sidecars beside them, as ``<subject>/<session>/SOURCE.nii.gz`` and ``TARGET.…``.

    What an earlier call left in ``folder`` is removed; a file system without links gets copies.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for case in cases:
        place = folder / case.subject / case.session
        place.mkdir(parents=True)
        for key, volume in case.volumes.items():
            ending = ENDING.search(volume.name)
            assert ending is not None
            _link(volume, place / f"{SIDES[key]}{ending[0].lower()}")
            if sidecar_of(volume).is_file():
                _link(sidecar_of(volume), place / f"{SIDES[key]}.json")


def _link(file: Path, place: Path) -> None:
    with contextlib.suppress(OSError):
        os.symlink(file, place)
        return
    shutil.copy2(file, place)
