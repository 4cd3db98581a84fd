"""The Brain Imaging Data Structure: where a volume goes in it, and the files that a data set must have.

Names follow BIDS 1.10 (Gorgolewski et al. 2016, doi:10.1038/sdata.2016.44). What it has no place for, or what headers
do not tell for certain, goes to ``sourcedata/other``, which validators leave alone; CT to ``ct``, named in .bidsignore.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.scans.formats.imagefiles import read_image
from medtrans.scans.output.gradients import weighting
from medtrans.scans.output.pseudonyms import Pseudonyms
from medtrans.scans.output.sidecar import SECONDS
from medtrans.scans.output.weighting import Shown, shown
from medtrans.scans.series.planes import planes
from medtrans.scans.series.planning import Job

VERSION = "1.10.0"
OTHER = "sourcedata/other"
COMPONENTS = {
    "M": "mag", "MAGNITUDE": "mag", "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "R": "real", "REAL": "real",
    "I": "imag", "IMAGINARY": "imag", "IMAG": "imag",
}  # fmt: skip
GE_COMPONENTS = {0: "mag", 1: "phase", 2: "real", 3: "imag"}
IGNORED = ("**/ct", "series.csv", ".contents.json", ".pseudonyms.json")
README = """Converted from a scanner export by medtrans.

series.csv lists everything that was found, with the reasons for what was left out. sourcedata/other holds volumes
that BIDS has no place for, or that headers do not describe well enough to be given one.
"""


def place_in_bids(jobs: Sequence[Job], names: Pseudonyms) -> None:
    """Change ``place``, patient and study of jobs that are named already to those of BIDS."""
    subjects = names.labels("BIDS subject", {job.row["patient"] for job in jobs if job.patient})
    sessions: dict[tuple[str, str], str] = {}
    for patient in subjects:
        own = names.labels(f"BIDS session of {patient}", {j.row["study"] for j in jobs if j.row["patient"] == patient})
        sessions |= {(patient, study): label for study, label in own.items()}
    series: dict[str, list[Job]] = {}
    for job in jobs:
        series.setdefault(job.uid, []).append(job)
    for job in jobs:
        if not job.patient:
            continue
        start = f"sub-{subjects[job.row['patient']]}", f"ses-{sessions[job.row['patient'], job.row['study']]}"
        folder, stem = ("", "") if job.reason else _place(job, series[job.uid])
        if folder:
            identity = f"{job.uid}|{job.label}"
            words = names.unique(f"BIDS {'/'.join(start)}/{folder}", identity, stem, again=_with_run)
            job.place = "/".join([*start, folder, "_".join([*start, words])])
        else:
            words = job.row["series"]
            job.place = "/".join([OTHER, *start, words])
        job.row |= {"patient": start[0], "study": start[1], "series": words}


def _with_run(stem: str, count: int) -> str:
    """``run-2_T1w``: the run stands before echo, part and suffix."""
    *before, suffix = stem.split("_")
    late = [word for word in before if word.startswith(("echo-", "part-"))]
    early = [word for word in before if word not in late]
    return "_".join([*early, f"run-{count}", *late, suffix])


def _place(job: Job, series: Sequence[Job]) -> tuple[str, str]:
    """Folder and file name (without subject and session) of a job; empty where BIDS has none, with a note."""
    modality = job.row["modality"]
    if modality == "CT":
        return "ct", "ct"
    if modality == "PT":
        return "pet", "_".join([*_tracer(job), "pet"])
    what = _what(job) if modality == "MR" else Shown("", note=f"BIDS has no place for modality {modality or 'unknown'}")
    job.notes += [f"not in BIDS: {what.note}" if not what.suffix else what.note] if what.note else []
    if not what.suffix:
        return "", ""
    part = component(job)
    split = len({component(other) for other in series if not other.reason}) > 1
    entities = []
    if what.suffix == "bold":
        task = "rest" if re.search(r"rest", _text(job), re.IGNORECASE) else "unknown"
        job.fields["TaskName"] = task
        entities.append(f"task-{task}")
    if job.tags.get("ContrastBolusAgent") and what.folder != "dwi":
        entities.append("ce-agent")
    echoes, echo = _echoes(series), job.tags.get("EchoTime")
    if what.folder != "dwi" and len(echoes) > 1 and echo in echoes:
        entities.append(f"echo-{1 + echoes.index(echo)}")
    if part != "mag" or split:
        entities.append(f"part-{part}")
    if part == "phase":
        job.fields["Units"] = "arbitrary"
    return what.folder, "_".join([*entities, what.suffix])


def _what(job: Job) -> Shown:
    """What an MR job shows."""
    if job.part is not None:
        frames = job.part.frames
        known = [weighting(frame.tags) for frame in frames]
        directed = None not in known and any(found and found[0] for found in known)
        return shown(_text(job), frames[0].tags, len(frames) // len(planes(frames)), directed)
    assert job.image is not None
    try:
        volume = read_image(job.image, label=job.label, pixels=False)
    except (InputError, OSError):
        return Shown("", note="cannot be read")
    fields = volume.metadata
    timing: dict[str, Any] = {name: 1000 * fields[name] for name in SECONDS if name in fields}
    return shown(fields["description"], timing, fields.get("time_points", 1), volume.gradients is not None)


def _text(job: Job) -> str:
    return f"{job.tags.get('SeriesDescription', '')} {job.tags.get('ProtocolName', '')}"


def _echoes(series: Sequence[Job]) -> list[Any]:
    times = {job.tags.get("EchoTime") for job in series if not job.reason}
    return sorted(time for time in times if isinstance(time, (int, float)))


def component(job: Job) -> str:
    """``mag``, ``phase``, ``real`` or ``imag``; ``mag`` where nothing says so."""
    for name in ("real", "imaginary", "phase"):
        if job.image is not None and name in job.label.split(", "):
            return name[:4] if name == "imaginary" else name
    tags = job.tags
    if "GEComponent" in tags:
        return GE_COMPONENTS.get(tags["GEComponent"], "mag")
    stated = [str(tags.get("ComplexImageComponent", "")), *map(str, tags.get("ImageType", ())[2:])]
    found = [COMPONENTS[word.upper()] for word in stated if word.upper() in COMPONENTS]
    return found[0] if found else "mag"


def with_place(metadata: dict[str, Any], job: Job) -> dict[str, Any]:
    """``metadata`` of a volume with what its sidecar must have for lying where it does."""
    own = metadata | job.fields | {"warnings": [*metadata["warnings"], *job.notes]}
    if "TaskName" in job.fields:  # where BIDS means the time from volume to volume, in the NIfTI header too
        step = metadata.get("time_step_s") or metadata.get("RepetitionTime")
        own |= {"RepetitionTime": step, "time_step_s": step} if step else {}
    return own


def _tracer(job: Job) -> list[str]:
    """``trc-FDG`` where the tracer has a name, ``rec-nac`` without attenuation correction."""
    drugs = job.tags.get("Radiopharmaceutical", ())
    name = re.sub("[^0-9A-Za-z]", "", str(drugs[0].get("Radiopharmaceutical", ""))) if len(drugs) == 1 else ""
    corrected = job.tags.get("CorrectedImage")
    plain = corrected is not None and "ATTN" not in corrected
    return [*([f"trc-{name[:20]}"] if name else []), *(["rec-nac"] if plain else [])]


def write_dataset_files(folder: Path, subjects: Sequence[str]) -> None:
    """Write what a BIDS data set must have at its top, keeping what is there and was edited.

    Args:
        folder: of the data set.
        subjects: ``sub-001``, ... of this run; those of earlier runs stay.
    """
    from medtrans import __version__

    description = {"Name": "Converted by medtrans", "BIDSVersion": VERSION, "DatasetType": "raw",
                   "GeneratedBy": [{"Name": "medtrans", "Version": __version__}]}  # fmt: skip
    for name, text in (("dataset_description.json", json.dumps(description, indent=2) + "\n"), ("README", README)):
        if not (folder / name).exists():
            _write(folder / name, text)
    ignored = _lines(folder / ".bidsignore")
    if not {*IGNORED} <= {*ignored}:
        _write(folder / ".bidsignore", "".join(f"{line}\n" for line in dict.fromkeys([*ignored, *IGNORED])))
    rows = list(csv.reader(_lines(folder / "participants.tsv"), delimiter="\t")) or [["participant_id"]]
    known = {row[0] for row in rows[1:] if row}
    rows += [[name, *["n/a"] * (len(rows[0]) - 1)] for name in sorted({*subjects} - known)]
    table = io.StringIO()
    csv.writer(table, delimiter="\t", lineterminator="\n").writerows(rows)
    _write(folder / "participants.tsv", table.getvalue())


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
