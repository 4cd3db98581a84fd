"""``medtrans convert``: any folder of scanner files to one NIfTI and sidecar a volume, and a table of everything."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtrans.errors import InputError
from medtrans.files import check_writable, remove_abandoned, written_whole
from medtrans.progress import progress
from medtrans.scans.conversion import Conversion
from medtrans.scans.deidentify.key import Key
from medtrans.scans.deidentify.volumes import deidentify_tags, key_of, refuse_copies, tell_what_stays, without_free_text
from medtrans.scans.export.finding import found_scans, refuse_nothing
from medtrans.scans.formats.imagefiles import read_image
from medtrans.scans.output.bids import with_place, write_dataset_files
from medtrans.scans.output.contents import Contents
from medtrans.scans.output.earlier import fingerprint, kept, remove_outdated
from medtrans.scans.output.layout import check_layout, name_jobs
from medtrans.scans.output.pseudonyms import Pseudonyms
from medtrans.scans.output.sidecar import identifiers, sidecar
from medtrans.scans.output.table import COLUMNS, Row, filled, frame_of, ordered, write_table
from medtrans.scans.output.volume import Volume, file_beside, write_volume
from medtrans.scans.reading import foresee_part, read_part
from medtrans.scans.series.parts import NotAVolume
from medtrans.scans.series.planning import Job, plan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "convert_export", "converted_rows", "read_series"]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What all series of one conversion share.

    Attributes:
        target: folder that is written to.
        conversion: what the user decided.
        keep_identifiers: whether sidecars say who and when.
        contents: hashes of files.
        dry: whether nothing is written, only told.
        secret: the key of a de-identification.
    """

    target: Path
    conversion: Conversion
    keep_identifiers: bool
    contents: Contents
    dry: bool = False
    secret: Key | None = None

    def mark(self, job: Job) -> str:
        """What changes with the source files and what is made of them; with a key, what only its owner can repeat."""
        mark = fingerprint(job, self.conversion, self.contents, self.keep_identifiers)
        return mark if self.secret is None else self.secret.digest("source", mark).hex()


def convert_export(
    export: str | os.PathLike[str],
    output: str | os.PathLike[str],
    conversion: Conversion | None = None,
    *,
    workers: int | None = None,
    keep_identifiers: bool = False,
    layout: str = "plain",
    key: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> pd.DataFrame:
    """Convert every volume under ``export`` to ``output/<patient>/<study>/<series>.nii.gz`` with a ``.json`` sidecar.

    One bad series never stops the others. What an earlier run made of files of the same content is kept, unless its
    files were changed or lost since. The outcome does not depend on ``workers``, nor on runs that were killed before.

    Args:
        export: folder, zip or tar (or file) in any layout, under any names: DICOM, NIfTI, MetaImage, NRRD, anything
            else.
        output: folder to write to, inside or outside ``export`` but not itself.
        conversion: what to make of a series; default :class:`Conversion` as it stands.
        workers: files, then volumes, handled at a time (each takes about twice its size in float32 of
            memory); default the number of cores.
        keep_identifiers: name folders by PatientID and StudyInstanceUID instead of pseudonyms, and say who and when in
            the sidecars.
        layout: ``plain``, or ``bids`` for the Brain Imaging Data Structure (see :mod:`medtrans.scans.output.bids`).
        key: file of the key of a de-identification, see :mod:`medtrans.scans.deidentify.volumes`; default none.
        dry_run: write nothing, and only say by the headers what would happen.

    Returns:
        The table also written to ``output/series.csv``: a row for every volume and every group of files left out, with
        ``status`` converted, skipped or failed; of a dry run "to convert", "kept", "skipped" or "would fail".
        ``files`` adds up to the files found.

    Raises:
        InputError: nothing to convert, or nowhere to write.
    """
    rows = converted_rows(
        export,
        output,
        conversion,
        workers=workers,
        keep_identifiers=keep_identifiers,
        layout=layout,
        key=key,
        dry_run=dry_run,
    )
    return frame_of(rows)


def converted_rows(
    export: str | os.PathLike[str],
    output: str | os.PathLike[str],
    conversion: Conversion | None = None,
    *,
    workers: int | None = None,
    keep_identifiers: bool = False,
    layout: str = "plain",
    key: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> list[Row]:
    """What :func:`convert_export` does, with the rows of its table as dictionaries."""
    check_layout(layout)
    source, target = Path(export), Path(output)
    if source.exists() and source.resolve() == target.resolve():
        raise InputError(target, "is the export itself", "Choose another folder to write to")
    check_writable(target)
    workers = workers or os.cpu_count() or 1
    secret = None if key is None else key_of(Path(key), target, keep_identifiers, not dry_run)
    names = None if secret else Pseudonyms(target, keep_identifiers)
    contents = Contents(None if secret else target / ".contents.json")
    run = Run(target, conversion or Conversion(), keep_identifiers, contents, dry_run, secret)
    with found_scans(source, workers, leave_out=target, near=None if dry_run else target) as files:
        refuse_nothing(source, files)
        jobs = plan(files)
        if secret is not None:
            refuse_copies(files, secret)
            tell_what_stays(jobs)
            deidentify_tags(files, secret)
        if secret is not None:
            with secret.naming() as kept_apart:
                name_jobs(jobs, kept_apart, layout)
        elif names is not None:
            name_jobs(jobs, names, layout)
            if not dry_run:
                names.save()
        rows = ordered(_rows(jobs, run, workers))
    if not dry_run:
        if layout == "bids":
            write_dataset_files(target, sorted({row["patient"] for row in rows} - {""}))
        run.contents.save()
        with written_whole(target / "series.csv") as temporary:
            write_table(rows, temporary)
        _tell_others(target, {row["path"] for row in rows})
    return rows


def _tell_others(target: Path, listed: set[str]) -> None:
    """Say that volumes of earlier runs lie in ``target`` whose sources were not in this export."""
    found = (path for path in target.rglob("[!.]*.nii.gz") if not path.is_symlink())
    others = sum(path.relative_to(target).as_posix() not in listed for path in found)
    if others:
        logger.warning("%s: %d volumes are of earlier runs and not in series.csv", target, others)


def _rows(jobs: list[Job], run: Run, workers: int) -> list[Row]:
    """The finished row of every job."""
    if not run.dry:
        for folder in {run.target, *((run.target / job.place).parent for job in jobs if job.place)}:
            remove_abandoned(folder)
    pool = ThreadPoolExecutor(workers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders quote header values
            results = pool.map(lambda job: _convert(job, run), jobs)
            doing = "reading geometry" if run.dry else "converting"
            return list(progress(results, doing, total=len(jobs), unit="series"))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C ends what is being done and begins nothing more


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
                told = InputError(subject, job.reason, "Give the scanner's files")
                errors += [job.part.verdict if job.part and job.part.verdict else told] if job.failed else []
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


def _convert(job: Job, run: Run) -> Row:
    """The finished row of a job: converted (or kept), skipped or failed."""
    path = run.target / f"{job.place}.nii.gz"
    failed = "would fail" if run.dry else "failed"
    status, reason, fields = failed if job.failed else "skipped", job.reason, None
    if not job.reason:
        try:
            fields = _kept(job, run, path)
            status, reason = ("kept", "") if run.dry else ("converted", "kept from an earlier run")
            if fields is None:
                status, reason = ("to convert" if run.dry else "converted"), ""
                fields = _foreseen(job, run) if run.dry else _written(job, run, path)
        except NotAVolume as verdict:
            status, reason = "skipped", verdict.problem
        except InputError as error:
            subject = "" if error.subject in ("series", "image file") else f"{error.subject}: "
            status, reason = failed, f"{subject}{error.problem}. {error.remedy}"
        except Exception as error:  # one broken series must not stop the others
            logger.debug("conversion failed: %s", type(error).__name__)  # its text may quote header values
            status, reason = failed, f"unexpected {type(error).__name__} while converting"
    if fields is None:
        if job.place and not run.dry:
            remove_outdated(path)
        return job.row | {"status": status, "reason": reason}
    return filled(job.row, fields) | {
        "status": status,
        "reason": "; ".join([*([reason] if reason else []), *fields["warnings"]]),
        "path": path.relative_to(run.target).as_posix(),
    }


def _kept(job: Job, run: Run, path: Path) -> dict[str, Any] | None:
    """The sidecar of what an earlier run made of the same files; None when it made nothing of the kind."""
    if not file_beside(path, ".json").exists():
        return None
    return kept(path, run.mark(job), run.contents)


def _written(job: Job, run: Run, path: Path) -> dict[str, Any]:
    """Convert a job; its sidecar. The files are hashed while they are read."""
    with ThreadPoolExecutor(1) as aside:
        mark = aside.submit(run.mark, job)
        volume = _read(job, run.conversion)
    volume.metadata = with_place(volume.metadata, job) | {"source": mark.result()}
    if run.secret is not None:
        volume.metadata = without_free_text(volume.metadata)
    if run.keep_identifiers and job.part is not None:
        volume.metadata |= identifiers(job.part.frames[0])
    return write_volume(volume, path)


def _read(job: Job, conversion: Conversion) -> Volume:
    if job.part is not None:
        return read_part(job.part, conversion, job.series_frames)
    assert job.image is not None
    return read_image(job.image, conversion, job.label)


def _foreseen(job: Job, run: Run) -> dict[str, Any]:
    """The sidecar of the volume that a job would become, as far as headers tell."""
    if job.part is not None:
        metadata = foresee_part(job.part, run.conversion, job.series_frames)
    else:
        assert job.image is not None
        metadata = read_image(job.image, run.conversion, job.label, pixels=False).metadata
    return sidecar(with_place(metadata, job))
