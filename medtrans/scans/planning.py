"""Sort the files of an export into jobs: one a volume, one a reason for leaving files out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medtrans.scans.frames import Frame
from medtrans.scans.headers import ScanFile
from medtrans.scans.parts import Part, split_series


@dataclass
class Job:
    """One row of the table: files that are one volume, or the reason why they are none."""

    files: list[ScanFile]
    patient: str = ""
    study: str = ""
    uid: str = ""
    part: Part | None = None
    series_frames: list[Frame] = field(default_factory=list)
    reason: str = ""
    failed: bool = False
    label: str = ""
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, Any]:
        """DICOM tags of its first file."""
        return self.part.frames[0].tags if self.part else self.files[0].tags


def plan(files: Sequence[ScanFile]) -> list[Job]:
    """Sort files into jobs: one a volume, one a reason for leaving files out."""
    by_series: dict[tuple[str, str, str], list[ScanFile]] = {}
    left_out: dict[tuple[Any, ...], Job] = {}
    jobs: list[Job] = []
    for file in files:
        patient, study = owner(file)
        uid = str(file.tags.get("SeriesInstanceUID", ""))
        if file.problem:
            key = (patient, study, uid, file.problem, file.failed)
            job = left_out.setdefault(key, Job([], patient, study, uid, reason=file.problem, failed=file.failed))
            job.files.append(file)
        elif file.format == "dicom":
            by_series.setdefault((patient, study, uid), []).append(file)
        else:
            jobs.append(Job([file], patient, study, file.place))
    for (patient, study, uid), members in by_series.items():
        jobs.extend(_series_jobs(members, patient, study, uid))
    return [*jobs, *left_out.values()]


def owner(file: ScanFile) -> tuple[str, str]:
    """What identifies patient and study: DICOM tags, or for other image files the folders they lie in."""
    tags = file.tags
    if file.format == "dicom" and (tags.get("SeriesInstanceUID") or tags.get("PatientID")):
        study = str(tags.get("StudyInstanceUID", ""))
        patient = str(tags.get("PatientID", ""))
        if not patient:
            patient = "|".join(str(tags.get(name, "")) for name in ("PatientName", "PatientBirthDate")).strip("|")
        return patient or study or "unknown", study or "unknown"
    if file.format in ("nifti", "itk"):
        *folders, name = file.place.split("/")
        if not folders:  # files side by side: each is somebody's
            return name.split(".")[0], "."
        return next((part for part in folders if part.startswith("sub-")), folders[0]), "/".join(folders)
    return "", ""


def _series_jobs(files: list[ScanFile], patient: str, study: str, uid: str) -> list[Job]:
    """One job a volume of a series; every file counts in the first job that uses it."""
    frames = [frame for file in files for frame in file.frames]
    jobs: list[Job] = []
    counted: set[int] = set()
    for part in split_series(frames):
        own = {id(frame.file): frame.file for frame in part.frames}
        fresh = [file for key, file in own.items() if key not in counted]
        counted |= own.keys()
        if part.verdict is not None and jobs and jobs[-1].reason == part.verdict.problem:
            jobs[-1].files += fresh  # the directions of one localizer are one row
        elif part.verdict is not None:
            jobs.append(Job(fresh, patient, study, uid, part, reason=part.verdict.problem))
        else:
            jobs.append(Job(fresh, patient, study, uid, part, frames, label=part.label))
    return jobs
