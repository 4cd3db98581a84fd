"""Whether an earlier run made a volume of the very same files, and whether its files are still as it left them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medtrans.scans.conversion import Conversion
from medtrans.scans.formats.imagefiles import contrast_of
from medtrans.scans.output.contents import Contents
from medtrans.scans.output.volume import file_beside
from medtrans.scans.series.planning import Job, data_of

FORMAT = 4  # of the output; raise it when what is written changes, so that old volumes are converted again


def fingerprint(job: Job, conversion: Conversion, contents: Contents, keep_identifiers: bool) -> str:
    """Changes when the content of the source files, or what is made of it, changes; not with names and folders.

    Raises:
        OSError: a source file cannot be read.
    """
    used: dict[Path, list[int]] = {}
    for frame in job.part.frames if job.part else []:
        used.setdefault(frame.file.path, []).append(frame.index)
    if job.image is not None:
        used |= {path: [] for path in (job.image.path, *data_of(job.image))}
    if job.tags.get("Modality") == "PT":  # decay correction may refer to the first image of the whole series
        for frame in job.series_frames:
            used.setdefault(frame.file.path, [])
    sources = sorted([contents.hash(path), *sorted(frames)] for path, frames in used.items())
    told = [
        job.label,
        job.fields,
        job.notes,
        job.part.notes if job.part else [],
        *(contrast_of(job.image.path) if job.image else ()),
    ]
    text = json.dumps([FORMAT, asdict(conversion), keep_identifiers, told, sources])
    return hashlib.sha256(text.encode()).hexdigest()


def kept(path: Path, mark: str, contents: Contents) -> dict[str, Any] | None:
    """The sidecar of an earlier conversion of the same content, None when there is none or a file was changed."""
    try:
        fields = json.loads(file_beside(path, ".json").read_text(encoding="utf-8"))
        if fields["source"] != mark:
            return None
        written = fields["sha256"].items()
        whole = all(contents.hash(file_beside(path, suffix)) == digest for suffix, digest in written)
        return fields if whole and path.is_file() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remove_outdated(path: Path) -> None:
    """Remove what an earlier run wrote under this name, if it did: its source has no volume any more."""
    try:
        fields = json.loads(file_beside(path, ".json").read_text(encoding="utf-8"))
        suffixes = [str(suffix) for suffix in fields["sha256"]] if fields["source"] else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for suffix in {*suffixes, ".json"} & {".json", ".nii.gz", ".bval", ".bvec"}:
        file_beside(path, suffix).unlink(missing_ok=True)
