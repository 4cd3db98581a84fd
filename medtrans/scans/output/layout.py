"""What patients, studies and series are called, and where a volume goes: <patient>/<study>/<series>."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medtrans.errors import InputError
from medtrans.scans.formats.imagefiles import contrast_of
from medtrans.scans.output.bids import place_in_bids
from medtrans.scans.output.pseudonyms import Pseudonyms, fit_for_file
from medtrans.scans.output.table import COLUMNS
from medtrans.scans.reading import frame_of_reference
from medtrans.scans.series.planning import Job

LAYOUTS = ("plain", "bids")


def check_layout(layout: str) -> None:
    """Refuse an unknown layout.

    Raises:
        InputError: it is none of LAYOUTS.
    """
    if layout not in LAYOUTS:
        raise InputError("--layout", f"is {layout!r}", f"Choose one of {', '.join(LAYOUTS)}")


def name_jobs(jobs: Sequence[Job], names: Pseudonyms, layout: str = "plain") -> None:
    """Give every job its row with patient, study and series name, and the place of its volume.

    Names depend on what the files say, not on where they lie or on the order they were found in.
    """
    patients = names.number("patient", {job.patient for job in jobs if job.patient}, "patient-{:03d}")
    studies: dict[tuple[str, str], str] = {}
    for patient, name in patients.items():
        own = {job.study for job in jobs if job.patient == patient}
        named = names.number(f"study of {name}", own, "study-{:02d}")
        studies |= {(patient, study): named[study] for study in own}
    for job in sorted(jobs, key=lambda job: job.uid):
        job.row = _row(job) | {
            "patient": patients.get(job.patient, ""),
            "study": studies.get((job.patient, job.study), ""),
        }
        if job.patient:
            folder = f"{job.row['patient']}/{job.row['study']}"
            series = names.unique(f"series in {folder}", f"{job.uid}|{job.label}|{job.reason}", _series_name(job))
            job.row["series"] = series
            job.place = f"{folder}/{series}"
    if layout == "bids":
        place_in_bids(jobs, names)


def _row(job: Job) -> dict[str, Any]:
    """What is known of a job before it is done."""
    return dict.fromkeys(COLUMNS, "") | {
        "modality": _modality(job),
        "description": str(job.tags.get("SeriesDescription", "")),
        "files": len(job.files),
        "frame": frame_of_reference([frame.tags for frame in job.part.frames] if job.part else [job.tags]),
    }


def _modality(job: Job) -> str:
    stated = str(job.tags.get("Modality") or "")
    if stated or job.image is None:
        return stated
    return contrast_of(job.image.path)[0] or ("MR" if job.image.format == "parrec" else "")


def _series_name(job: Job) -> str:
    """``301-CT``: number and modality."""
    number, modality = job.tags.get("SeriesNumber"), fit_for_file(_modality(job))[:16]
    name = f"{number:03d}" if isinstance(number, int) and 0 <= number < 10**10 else "series"
    return f"{name}-{modality}" if modality else name
