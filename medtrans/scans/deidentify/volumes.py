"""De-identified volumes: scans are read under new UIDs, moved dates and clean text, so that no others can be written.

SUV is computed from the true weight and dose, and from dates of which only the day was moved: the values are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medtrans.errors import InputError
from medtrans.scans.deidentify.headers import Deidentifier, plain_tags
from medtrans.scans.deidentify.key import Key, Whose, refuse_inside
from medtrans.scans.deidentify.suspicions import burned_in, face
from medtrans.scans.deidentify.wording import cleaned
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.output.volume import file_beside
from medtrans.scans.series.planning import Job, owners

COPY = "is a de-identified copy already"
FREE_TEXT = ("description", "SeriesDescription", "ProtocolName", "part")


def key_of(path: Path, target: Path, keep_identifiers: bool, make: bool = True) -> Key:
    """The key, once it is clear that it may be used for ``target``; see :class:`~medtrans.scans.deidentify.key.Key`.

    Raises:
        InputError: it is none, it would lie in the output, the output holds an earlier conversion with hashes that
            lead back, or identifiers are to be kept.
    """
    if keep_identifiers:
        raise InputError("--deidentify", "and --keep-identifiers contradict each other", "Choose one of them")
    if (target / ".pseudonyms.json").exists() or ((target / "series.csv").exists() and _has_plain_volumes(target)):
        raise InputError(target, "holds an earlier conversion without --deidentify", "Convert into a new folder")
    refuse_inside(path, target)
    return Key(path, make)


def _has_plain_volumes(target: Path) -> bool:
    """Whether a volume lies there of which the sidecar does not say that it was de-identified."""
    for path in target.rglob("[!.]*.nii.gz"):
        try:
            fields = json.loads(file_beside(path, ".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # none of ours
        if not (isinstance(fields, dict) and fields.get("deidentified") is True):
            return True
    return False


def is_copy(file: ScanFile, key: Key) -> bool:
    """Whether a file was de-identified with this very key: once more, it would become another patient's."""
    removed, study, patient = (
        str(file.tags.get(name, "")) for name in ("PatientIdentityRemoved", "StudyInstanceUID", "PatientID")
    )
    return removed.upper() == "YES" and study.startswith("2.25.") and key.gave(patient)


def refuse_copies(files: Iterable[ScanFile], key: Key) -> None:
    """Raise when one of the files was de-identified with this key."""
    for file in files:
        if is_copy(file, key):
            raise InputError("an image of the export", COPY, "Leave out --deidentify and --key, or give the originals")


def deidentify_tags(files: Sequence[ScanFile], key: Key) -> None:
    """Change, in place, what headers say of DICOM files and of their frames."""
    rules = Deidentifier(key)
    done: set[int] = set()
    for file, (patient, _) in zip(files, owners(files), strict=True):
        if file.format != "dicom":
            continue
        for tags in (file.tags, *(frame.tags for frame in file.frames)):
            if id(tags) not in done:
                done.add(id(tags))
                new = plain_tags(rules, tags, Whose(patient, ""))
                tags.clear()
                tags.update(new)


def tell_what_stays(jobs: Iterable[Job]) -> None:
    """Note in the jobs what no change of headers takes away: faces, text in pixels."""
    for job in jobs:
        if job.reason or job.part is None:
            continue
        why, text = face(job.files), burned_in(job.tags)
        job.notes += [f"may show a face, which stays: {why}"] if why else []
        job.notes += [f"its pixels may show text, which stays: {text}"] if text else []


def without_free_text(metadata: dict[str, Any]) -> dict[str, Any]:
    """``metadata`` of a volume with words of imaging only where people can type; also of files that are no DICOM."""
    clean = {name: cleaned(str(metadata[name])) for name in FREE_TEXT if metadata.get(name)}
    return metadata | clean | {"deidentified": True}
