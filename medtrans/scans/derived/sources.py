"""The series of an export that a derived one can be laid over: their planes in order, and whose they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.pet.decay import decay_reference
from medtrans.scans.series.naming import images_hash
from medtrans.scans.series.planning import Job, plan
from medtrans.scans.series.stacks import arrange
from medtrans.scans.space.geometry import Planes

MARK = "SYNTHETIC"  # how descriptions of derived series begin


@dataclass(frozen=True)
class SourceSeries:
    """One volume of an export.

    Attributes:
        frames: its planes, in order along their normal.
        series_frames: all frames of the SeriesInstanceUID, which PET timing needs.
        patient: what identifies the patient; never shown.
        images: the same for every export of these images, see :func:`~medtrans.scans.series.naming.images_hash`.
        name: number and modality, free of patient data.
        hashed: the frames that ``images`` is a hash of: copies, too.
        known_as: ``images`` before it was de-identified.
        prepared: what is done to a header of it before anything is taken from there.
    """

    frames: tuple[Frame, ...]
    series_frames: tuple[Frame, ...]
    patient: str
    images: str
    name: str
    hashed: tuple[Frame, ...] = ()
    known_as: str = ""
    prepared: Callable[[Dataset], Dataset] | None = None

    @cached_property
    def planes(self) -> Planes:
        """Where the planes lie."""
        return Planes.of(self.frames)

    @cached_property
    def decay(self) -> tuple[datetime, float] | None:
        """The moment that PET values are corrected to (START), and the half-life in s; None where tags do not say."""
        tags = self.first.tags
        drugs = tags.get("Radiopharmaceutical", ())
        half_life = drugs[0].get("RadionuclideHalfLife") if len(drugs) == 1 else None
        corrected = tags.get("DecayCorrection") == "START" or tags.get("DecayCorrected") == "YES"
        if not (corrected and isinstance(half_life, float) and half_life > 0):
            return None
        try:
            return decay_reference(self.series_frames, half_life), half_life
        except InputError:
            return None

    @property
    def synthetic(self) -> bool:
        """Whether it is itself a derived series of ours."""
        return says_synthetic(self.first.tags)

    def header(self) -> Dataset:
        """The header of the first image."""
        header = pydicom.dcmread(self.first.file.path, stop_before_pixels=True, force=True)
        return header if self.prepared is None else self.prepared(header)

    @property
    def first(self) -> Frame:
        """The frame of the first plane."""
        return self.frames[0]


def says_synthetic(tags: Mapping[str, Any]) -> bool:
    """Whether an image's tags say that it is of a derived series such as ours."""
    return "DERIVED" in tags.get("ImageType", ()) and str(tags.get("SeriesDescription", "")).startswith(MARK)


def source_series(files: Sequence[ScanFile]) -> tuple[list[SourceSeries], list[InputError]]:
    """Every series among ``files`` that is one volume, and why the others are none."""
    sources: list[SourceSeries] = []
    refused: list[InputError] = []
    for job in plan(files):
        if job.reason or job.part is None:
            refused += [InputError(_told(job), job.reason, "Give the scanner's DICOM files")] if job.failed else []
            continue
        try:
            sources.append(_source(job))
        except InputError as error:
            refused.append(InputError(_told(job), error.problem, error.remedy))
    return sources, refused


def _source(job: Job) -> SourceSeries:
    assert job.part is not None
    stack = arrange(job.part.frames)
    if len(stack.frames) > 1:
        raise InputError(
            "series", f"has {len(stack.frames)} time points", "Give a folder of the files of one time point"
        )
    hashed = tuple(job.part.frames)
    frames = tuple(stack.frames[0])
    source = SourceSeries(frames, tuple(job.series_frames), job.patient, images_hash(hashed), _name(job), hashed)
    source.planes.spacing  # noqa: B018  refuses what cannot be placed
    return source


def _told(job: Job) -> str:
    return f"series {name}" if (name := _name(job)) else "files"


def _name(job: Job) -> str:
    number = job.tags.get("SeriesNumber")
    shown = f"{number}-" if isinstance(number, int) else ""
    return f"{shown}{job.tags.get('Modality', '')}" + (f" [{job.label}]" if job.label else "")
