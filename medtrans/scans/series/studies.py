"""One SeriesInstanceUID under several studies or patients, which should not be: its images joined, or told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medtrans.scans.export.frames import Frame
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.series.parts import split_series
from medtrans.scans.series.references import is_one_scan

TAG = "StudyInstanceUID"


@dataclass(frozen=True)
class Series:
    """The files of one series of a patient and study, with what the user should know of them."""

    patient: str
    study: str
    uid: str
    files: Sequence[ScanFile]
    notes: tuple[str, ...] = ()


def in_studies(by_series: Mapping[tuple[str, str, str], Sequence[ScanFile]]) -> list[Series]:
    """Series by (patient, study, series UID), those joined that were torn apart.

    Halves of one patient that lie in two studies are one series where they are copies (by SOPInstanceUID) or make one
    even stack together; it belongs to the study with more of its files. Otherwise each is a series of its own, as are
    those of different patients.
    """
    found: dict[tuple[str, str], list[Series]] = {}
    for (patient, study, uid), files in by_series.items():
        found.setdefault((patient, uid), []).append(Series(patient, study, uid, files))
    joined = [_joined(halves) if len(halves) > 1 else halves for halves in found.values()]
    patients: dict[str, set[str]] = {}
    for patient, uid in found:
        patients.setdefault(uid, set()).add(patient)
    return [_told(series, "patients", len(patients[series.uid])) for several in joined for series in several]


def _joined(halves: Sequence[Series]) -> list[Series]:
    if not _belong_together(halves):
        return [_told(half, "studies", len(halves)) for half in halves]
    main = min(halves, key=lambda half: (-len(half.files), half.study))
    files = [file for half in halves for file in half.files]
    note = f"its images name {len(halves)} studies ({TAG}): taken for one series"
    return [Series(main.patient, main.study, main.uid, files, (note,))]


def _told(series: Series, of: str, count: int) -> Series:
    if count < 2:
        return series
    note = f"{count} {of} have images of this SeriesInstanceUID: is a part of it missing here?"
    return Series(series.patient, series.study, series.uid, series.files, (*series.notes, note))


def _belong_together(halves: Sequence[Series]) -> bool:
    names = [{str(file.tags.get("SOPInstanceUID")) for file in half.files} - {"None"} for half in halves]
    if len(set().union(*names)) < sum(map(len, names)):
        return True
    parts = split_series([frame for half in halves for file in half.files for frame in file.frames])
    mixed = [part.frames for part in parts if part.verdict is None and len(_studies(part.frames)) > 1]
    return bool(mixed) and all(is_one_scan(frames, TAG) for frames in mixed)


def _studies(frames: Sequence[Frame]) -> set[str]:
    return {str(frame.tags.get(TAG)) for frame in frames}
