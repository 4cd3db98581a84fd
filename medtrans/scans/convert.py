"""``medtrans convert``: any folder of scanner files to one NIfTI and sidecar a volume, and a table of everything."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtrans.errors import InputError
from medtrans.files import check_writable, remove_abandoned, written_whole
from medtrans.progress import progress
from medtrans.scans.conversion import Conversion
from medtrans.scans.finding import found_scans, refuse_nothing
from medtrans.scans.imagefiles import contrast_of, read_itk, read_nifti
from medtrans.scans.parts import NotAVolume
from medtrans.scans.planning import Job, plan
from medtrans.scans.pseudonyms import Pseudonyms
from medtrans.scans.reading import frame_of_reference, read_part
from medtrans.scans.volume import Volume, sidecar_path, write_volume

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)
COLUMNS = ("patient", "study", "series", "modality", "description", "files", "slices", "shape", "spacing", "unit",
           "frame", "status", "reason", "path")  # fmt: skip
FORMAT = 1  # of the output; raise it when what is written changes, so that old volumes are converted again


def convert_export(
    export: str | os.PathLike[str],
    output: str | os.PathLike[str],
    conversion: Conversion | None = None,
    *,
    workers: int | None = None,
    keep_identifiers: bool = False,
) -> pd.DataFrame:
    """Convert every volume under ``export`` to ``output/<patient>/<study>/<series>.nii.gz`` with a ``.json`` sidecar.

    One bad series never stops the others. What an earlier run converted from the same files is kept.

    Args:
        export: folder, zip or tar (or file) in any layout, under any names: DICOM, NIfTI, MetaImage, NRRD, anything
            else.
        output: folder to write to, inside or outside ``export`` but not itself.
        conversion: what to make of a series; default :class:`Conversion` as it stands.
        workers: files, then volumes, handled at a time; default the number of cores.
        keep_identifiers: name folders by PatientID and StudyInstanceUID instead of pseudonyms.

    Returns:
        The table also written to ``output/series.csv``: a row for every volume and every group of files left out, with
        ``status`` converted, skipped or failed. ``files`` adds up to the files found.

    Raises:
        InputError: nothing to convert, or nowhere to write.
    """
    chosen = conversion or Conversion()
    source, target = Path(export), Path(output)
    if source.exists() and source.resolve() == target.resolve():
        raise InputError(target, "is the export itself", "Choose another folder to write to")
    check_writable(target)
    workers = workers or os.cpu_count() or 1
    names = Pseudonyms(target, keep_identifiers)
    with found_scans(source, workers, leave_out=target, near=target) as files:
        refuse_nothing(source, files)
        rows = _convert_all(plan(files), names, target, chosen, workers)
    table = _table(rows)
    with written_whole(target / "series.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def _convert_all(
    jobs: list[Job], names: Pseudonyms, target: Path, conversion: Conversion, workers: int
) -> list[dict[str, Any]]:
    """The finished row of every job."""
    _name(jobs, names, target)
    names.save()
    for folder in {target / job.row["patient"] / job.row["study"] for job in jobs if job.row["patient"]}:
        remove_abandoned(folder)
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # decoders quote header values
        results = pool.map(lambda job: _convert(job, target, conversion), jobs)
        return list(progress(results, "converting", total=len(jobs), unit="series"))


def read_series(
    scans: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    conversion: Conversion | None = None,
    *,
    workers: int = 1,
) -> list[Volume]:
    """Every volume in a folder, an archive, a file or a list of files, in memory.

    What is no volume (localizers, reports, pictures) is left out; what fails is logged and left out as long as
    something else can be read.

    Raises:
        InputError: nothing could be read; the first failure, or that there are no scans.
    """
    export: Path | list[Path]
    if isinstance(scans, (str, os.PathLike)):
        export, subject = Path(scans), str(scans)
    else:
        export, subject = [Path(path) for path in scans], "the files given"
    volumes: list[Volume] = []
    errors: list[InputError] = []
    with found_scans(export, workers) as files:
        for job in plan(files):
            if job.reason:
                errors += [InputError(subject, job.reason, "Give the scanner's files")] if job.failed else []
                continue
            try:
                volumes.append(_read(job, conversion or Conversion()))
            except NotAVolume as verdict:
                logger.info("left out: %s", verdict)
            except InputError as error:
                errors.append(error)
    if not volumes:
        raise errors[0] if errors else InputError(subject, "holds no volume", "Give the folder of a scanner's series")
    for failure in errors:
        logger.warning("left out: %s", failure)
    return volumes


def _name(jobs: Sequence[Job], names: Pseudonyms, target: Path) -> None:
    """Give every job its row with patient, study and series name."""
    patients = names.number("patient", {job.patient for job in jobs if job.patient}, "patient-{:03d}")
    studies: dict[tuple[str, str], str] = {}
    for patient in patients:
        own = names.number(f"study of {patients[patient]}" if not names.keep_identifiers else "study",
                           {job.study for job in jobs if job.patient == patient}, "study-{:02d}")  # fmt: skip
        studies |= {(patient, study): name for study, name in own.items()}
    for job in jobs:
        tags = job.tags
        modality = str(tags.get("Modality") or (contrast_of(job.files[0].path)[0] if job.files else ""))
        job.row = dict.fromkeys(COLUMNS, "") | {
            "patient": patients.get(job.patient, ""),
            "study": studies.get((job.patient, job.study), ""),
            "modality": modality,
            "description": str(tags.get("SeriesDescription", "")),
            "files": len(job.files),
            "frame": frame_of_reference(tags),
        }
        if job.patient:
            number = tags.get("SeriesNumber")
            wanted = f"{int(number):03d}" if isinstance(number, (int, float)) else "series"
            wanted += f"-{modality}" if modality else ""
            scope = f"series in {job.row['patient']}/{job.row['study']}"
            job.row["series"] = names.unique(scope, f"{job.uid}|{job.label}|{job.reason}", wanted)


def _convert(job: Job, target: Path, conversion: Conversion) -> dict[str, Any]:
    """The finished row of a job: converted (or kept), skipped or failed."""
    row = job.row
    if job.reason:
        return row | {"status": "failed" if job.failed else "skipped", "reason": job.reason}
    path = target / row["patient"] / row["study"] / f"{row['series']}.nii.gz"
    mark = _fingerprint(job, conversion)
    try:
        known = _kept(path, mark)
        if known is None:
            volume = _read(job, conversion)
            volume.metadata |= {"source": mark, "format": FORMAT}
            write_volume(volume, path)
        metadata = known or volume.metadata
    except NotAVolume as verdict:
        return row | {"status": "skipped", "reason": verdict.problem}
    except InputError as error:
        subject = "" if error.subject in ("series", "image file") else f"{error.subject}: "
        return row | {"status": "failed", "reason": f"{subject}{error.problem}. {error.remedy}"}
    except Exception as error:  # one broken series must not stop the others
        logger.debug("conversion failed", exc_info=True)
        return row | {"status": "failed", "reason": f"unexpected {type(error).__name__} while converting"}
    return row | {
        "description": metadata["description"],
        "modality": metadata["modality"],
        "slices": metadata["slices"],
        "shape": "x".join(map(str, metadata["shape"])),
        "spacing": "x".join(f"{value:g}" for value in metadata["spacing_mm"]),
        "unit": metadata["unit"],
        "status": "converted",
        "reason": "; ".join([*(["kept from an earlier run"] if known else []), *metadata["warnings"]]),
        "path": path.relative_to(target).as_posix(),
    }


def _read(job: Job, conversion: Conversion) -> Volume:
    if job.part is not None:
        return read_part(job.part, conversion, job.series_frames)
    readers: dict[str, Callable[[Path], Volume]] = {"nifti": read_nifti, "itk": read_itk}
    return readers[job.files[0].format](job.files[0].path)


def _fingerprint(job: Job, conversion: Conversion) -> str:
    """Changes when the source files or what is made of them changes."""
    frames = job.part.frames if job.part else []
    if frames:
        sources = sorted(f"{f.tags.get('SOPInstanceUID')}:{f.index}:{f.file.path.stat().st_size}" for f in frames)
    else:
        stat = job.files[0].path.stat()
        sources = [f"{job.uid}:{stat.st_size}:{stat.st_mtime_ns}"]
    text = json.dumps([FORMAT, asdict(conversion), sources])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _kept(path: Path, mark: str) -> dict[str, Any] | None:
    """The sidecar of an earlier conversion of the same files, None when there is none."""
    try:
        metadata = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
        return metadata if path.is_file() and metadata["source"] == mark else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    by = ["nobody", "patient", "study", "series", "status", "reason"]
    table = table.assign(nobody=table["patient"] == "").sort_values(by, kind="stable")
    return table.drop(columns="nobody").reset_index(drop=True)
