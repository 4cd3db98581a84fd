"""The derived series below a folder, and a refusal of everything else there: only what we made is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from medtrans.errors import InputError
from medtrans.scans.derived.provenance import MANUFACTURER
from medtrans.scans.derived.sources import says_synthetic
from medtrans.scans.dicomweb.completeness import is_incomplete
from medtrans.scans.export.finding import list_files, scan_files
from medtrans.scans.export.headers import DIRECTORY, ScanFile


@dataclass(frozen=True)
class Instance:
    """One image: SOPInstanceUID and file."""

    uid: str
    path: Path


@dataclass(frozen=True)
class DerivedSeries:
    """A series to send.

    Attributes:
        folder: where its first image lies, relative to the folder that was named.
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        modality: as its images say.
        instances: its images, each once.
    """

    folder: str
    study: str
    uid: str
    modality: str
    instances: tuple[Instance, ...]


def derived_series(folder: Path) -> list[DerivedSeries]:
    """Every series below ``folder``, in the order of its files.

    Raises:
        InputError: there is none, a file is damaged, or one is not of a derived series of ours.
    """
    files = [file for file in scan_files(list_files(folder)) if file.format == "dicom" and file.problem != DIRECTORY]
    if not files:
        raise InputError(folder, "holds no DICOM images", "Give the folder that `medtrans export` wrote")
    _refuse_damaged(folder, files)
    _refuse_others(folder, files)
    grouped: dict[tuple[str, str], list[ScanFile]] = {}
    for file in files:
        grouped.setdefault((file.tags["StudyInstanceUID"], file.tags["SeriesInstanceUID"]), []).append(file)
    return [_series(folder, *uids, members) for uids, members in grouped.items()]


def _refuse_damaged(folder: Path, files: Sequence[ScanFile]) -> None:
    damaged = [file for file in files if _damaged(file)]
    if damaged:
        problem = f"holds damaged DICOM files: {len(damaged)} of {len(files)}"
        raise InputError(folder, problem, "Export the series again, to another folder")


def _damaged(file: ScanFile) -> bool:
    """Whether it cannot be read, or not whole: a PACS may well store it without a word."""
    try:
        return file.failed or is_incomplete(pydicom.dcmread(file.path, force=True))
    except Exception:  # damaged in one of many ways
        return True


def _refuse_others(folder: Path, files: Sequence[ScanFile]) -> None:
    """Scans of the scanner are the PACS's own, and copies that were changed on the way would only confuse it."""
    others = [
        file for file in files if not (says_synthetic(file.tags) and file.tags.get("Manufacturer") == MANUFACTURER)
    ]
    if others:
        problem = f"holds images that are not of a derived series of medtrans: {len(others)} of {len(files)}"
        raise InputError(
            folder, problem, "Give the folder that `medtrans export` or `medtrans translate --dicom` wrote"
        )


def _series(folder: Path, study: str, uid: str, files: Sequence[ScanFile]) -> DerivedSeries:
    place = files[0].path.parent.relative_to(folder).as_posix() if folder.is_dir() else "."
    by_uid = {file.tags["SOPInstanceUID"]: file.path for file in files}
    instances = tuple(Instance(own, path) for own, path in by_uid.items())
    return DerivedSeries(place, study, uid, str(files[0].tags.get("Modality", "")), instances)
