"""Sort the files of an export into jobs: one a volume, one a reason for leaving files out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrans.errors import InputError
from medtrans.scans.export.datafiles import data_files
from medtrans.scans.export.directory import missing_images
from medtrans.scans.export.frames import Frame
from medtrans.scans.export.headers import DIRECTORY, ScanFile
from medtrans.scans.formats.parrec import contrasts
from medtrans.scans.series.parts import NotAVolume, Part, split_series
from medtrans.scans.series.studies import Series, in_studies

IMAGES = ("nifti", "itk", "parrec", "analyze")  # formats of image files that are no DICOM


@dataclass
class Job:
    """One row of the table: files that are one volume, or the reason why they are none.

    ``files`` are those that count here, each in one job only; ``part`` are the DICOM frames of the volume, or ``image``
    the header of an image file. ``place`` is where the volume goes, relative to the output and without suffix, with
    ``fields`` and ``notes`` that its sidecar has for lying there; ``row`` is what the table says so far.
    """

    files: list[ScanFile]
    patient: str = ""
    study: str = ""
    uid: str = ""
    part: Part | None = None
    series_frames: list[Frame] = field(default_factory=list)
    reason: str = ""
    failed: bool = False
    label: str = ""
    image: ScanFile | None = None
    place: str = ""
    row: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def tags(self) -> dict[str, Any]:
        """DICOM tags of its first file."""
        return self.part.frames[0].tags if self.part else (self.image or self.files[0]).tags


def plan(files: Sequence[ScanFile]) -> list[Job]:
    """Sort files into jobs: one a volume, one a reason for leaving files out.

    Their order, and the order of files in them, comes from what the files hold, not from where they lie.
    """
    by_series: dict[tuple[str, str, str], list[ScanFile]] = {}
    left_out: dict[tuple[Any, ...], Job] = {}
    images: list[Job] = []
    data = {file.path: data_of(file) for file in files if file.format in IMAGES}
    free = {file.path: file for file in files if not file.format}
    voxels = {path: free[path] for paths in data.values() for path in paths if path in free}
    claimed = {*voxels}
    for file, (patient, study) in zip(files, owners(files), strict=True):
        if file.path in claimed:
            continue  # counted with the header that names it
        uid = str(file.tags.get("SeriesInstanceUID", ""))
        if file.problem:
            problem, failed = _problem(file, files)
            key = (patient, study, uid, problem, failed)
            job = left_out.setdefault(key, Job([], patient, study, uid, reason=problem, failed=failed))
            job.files.append(file)
        elif file.format == "dicom":
            by_series.setdefault((patient, study, uid), []).append(file)
        else:
            own = [voxels.pop(path) for path in data[file.path] if path in voxels]
            images.extend(_image_jobs(file, patient, study, [file, *own]))
    for job in left_out.values():
        job.files.sort(key=_identity)
    jobs: list[Job] = []
    for series in sorted(in_studies(by_series), key=_series_order):
        jobs.extend(_series_jobs(series))
    _tell_damaged(jobs, left_out.values())
    images.sort(key=lambda job: job.uid)
    return [*jobs, *images, *sorted(left_out.values(), key=lambda job: (_series_order(job), job.reason, job.failed))]


def _problem(file: ScanFile, files: Sequence[ScanFile]) -> tuple[str, bool]:
    """Why a file is no image, and whether that is a fault; of a directory, that images it lists are not there."""
    if file.problem != DIRECTORY:
        return file.problem, file.failed
    missing, listed = missing_images(file, files)
    if not missing:
        return file.problem, False
    return f"{DIRECTORY}: {missing} of the {listed} images that it lists are missing. Copy the whole disc", True


def _tell_damaged(jobs: Iterable[Job], left_out: Iterable[Job]) -> None:
    """Volumes of a series that also has damaged images may end early: the gap rules see only what lies between."""
    damaged: Counter[tuple[str, str, str]] = Counter()
    for job in left_out:
        if job.failed and job.uid:
            damaged[job.patient, job.study, job.uid] += len(job.files)
    for job in jobs:
        count = damaged[job.patient, job.study, job.uid]
        if count and not job.reason:
            job.notes.append(f"damaged images of this series left out: {count}; slices at its ends may be missing")


def _number(file: ScanFile, name: str) -> float:
    value = file.tags.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _identity(file: ScanFile) -> tuple[Any, ...]:
    number = _number(file, "SeriesNumber"), _number(file, "InstanceNumber")
    return (*number, str(file.tags.get("SOPInstanceUID", "")), repr(file.tags.get("SeriesDescription")), file.place)


def _series_order(series: Series | Job) -> tuple[Any, ...]:
    return series.patient, series.study, min(_number(file, "SeriesNumber") for file in series.files), series.uid


def owners(files: Sequence[ScanFile]) -> list[tuple[str, str]]:
    """Patient and study of every file; an image without PatientID belongs to the one patient of its study.

    A PatientID of several issuers is several patients': ``PatientID|IssuerOfPatientID``; an image of such a number that
    names no issuer belongs to that of its study.
    """
    shared = _shared_numbers(files)
    known: dict[str, set[str]] = {}
    for file in files:
        patient, whole = _patient(file, shared)
        if whole and file.tags.get("StudyInstanceUID"):
            for uid in ("StudyInstanceUID", "SeriesInstanceUID"):
                known.setdefault(str(file.tags.get(uid)), set()).add(patient)
    found = []
    for file in files:
        patient, study = owner(file)
        number, whole = _patient(file, shared)
        patient = number or patient
        for uid in () if whole else ("StudyInstanceUID", "SeriesInstanceUID"):
            others = known.get(str(file.tags.get(uid, "")), set())
            fitting = {other for other in others if not number or other.startswith(f"{number}|")}
            if len(fitting) == 1:
                patient = next(iter(fitting))
                break
        found.append((patient, study))
    return found


def _patient(file: ScanFile, shared: set[str]) -> tuple[str, bool]:
    """What a DICOM header says who the patient is, and whether that is enough."""
    number, issuer = (str(file.tags.get(name) or "") for name in ("PatientID", "IssuerOfPatientID"))
    if file.format != "dicom" or number not in shared:
        return (number, True) if number and file.format == "dicom" else ("", False)
    return (f"{number}|{issuer}", True) if issuer else (number, False)


def _shared_numbers(files: Sequence[ScanFile]) -> set[str]:
    """PatientIDs that several issuers gave, unless a study shows that they mean one patient by it."""
    issuers: dict[str, set[str]] = {}
    in_study: dict[tuple[str, str], set[str]] = {}
    for file in files:
        number, issuer = (str(file.tags.get(name) or "") for name in ("PatientID", "IssuerOfPatientID"))
        if file.format == "dicom" and number and issuer:
            issuers.setdefault(number, set()).add(issuer)
            in_study.setdefault((number, str(file.tags.get("StudyInstanceUID") or "")), set()).add(issuer)
    one = {number for (number, study), own in in_study.items() if study and len(own) > 1}
    return {number for number, own in issuers.items() if len(own) > 1} - one


def data_of(file: ScanFile) -> list[Path]:
    """The files that hold the voxels of a header; none where they are missing, which reading it tells."""
    try:
        return data_files(file.path, file.format)
    except (InputError, OSError, ValueError):  # the last for names that hold a zero byte
        return []


def _image_jobs(file: ScanFile, patient: str, study: str, members: list[ScanFile]) -> list[Job]:
    """One job for an image file and its data files; of a PAR/REC file one a contrast, counted in the first."""
    labels = [""]
    if file.format == "parrec":
        try:
            labels = contrasts(file.path)
        except InputError as error:
            return [Job(members, patient, study, file.place, reason=error.problem, failed=True)]
    return [
        Job([] if n else members, patient, study, file.place, label=label, image=file) for n, label in enumerate(labels)
    ]


def owner(file: ScanFile) -> tuple[str, str]:
    """What identifies patient and study: DICOM tags, or for other image files the folders they lie in."""
    tags = file.tags
    if file.format == "dicom" and (tags.get("SeriesInstanceUID") or tags.get("PatientID")):
        study = str(tags.get("StudyInstanceUID", ""))
        patient = str(tags.get("PatientID", ""))
        if not patient:
            patient = "|".join(str(tags.get(name, "")) for name in ("PatientName", "PatientBirthDate")).strip("|")
        return patient or study or "unknown", study or "unknown"
    if file.format in IMAGES:
        *folders, name = file.place.split("/")
        if not folders:  # files side by side: each is somebody's
            return name.split(".")[0], "."
        return next((part for part in folders if part.startswith("sub-")), folders[0]), "/".join(folders)
    return "", ""


def _series_jobs(series: Series) -> list[Job]:
    """One job a volume of a series; every file counts in the first job that uses it."""
    patient, study, uid = series.patient, series.study, series.uid
    frames = [frame for file in sorted(series.files, key=_identity) for frame in file.frames]
    jobs: list[Job] = []
    counted: set[int] = set()
    for part in split_series(frames):
        own = {id(frame.file): frame.file for frame in part.frames}
        fresh = [file for key, file in own.items() if key not in counted]
        counted |= own.keys()
        if part.verdict is not None and jobs and jobs[-1].reason == part.verdict.problem:
            jobs[-1].files += fresh  # the directions of one localizer are one row
        elif isinstance(part.verdict, NotAVolume):
            jobs.append(Job(fresh, patient, study, uid, part, reason=part.verdict.problem))
        elif part.verdict is not None:
            told = f"{part.verdict.problem}. {part.verdict.remedy}"
            jobs.append(Job(fresh, patient, study, uid, part, reason=told, failed=True))
        else:
            part.notes[:0] = series.notes
            jobs.append(Job(fresh, patient, study, uid, part, frames, label=part.label))
    return jobs
