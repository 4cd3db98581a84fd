"""What `medtrans translate --dicom` adds: a derived series of every volume that was translated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrans.errors import CasesFailedError, InputError
from medtrans.scans.deidentify.headers import Deidentifier
from medtrans.scans.derived.exporting import export_series
from medtrans.scans.derived.series import Writing

FOLDER = "dicom"  # in the folder of the volumes
TABLES = ("cases.csv", "series.csv")


def source_export(source: str, like: Path | None) -> Path:
    """Where the source series are: ``like``, else the input of the translation where that is a scanner export.

    What `medtrans convert` and `prepare` write names no file of the export, so that they hold no patient data: the
    export must be named again, and series are found in it by what the conversion recorded of their images.

    Raises:
        InputError: the input is no export, and ``like`` is not given.
    """
    if like is not None:
        if not like.exists():
            raise InputError(like, "does not exist", "Give the scanner's export")
        return like
    given = Path(source).expanduser()
    nifti = given.name.lower().endswith((".nii", ".nii.gz")) or (given.is_dir() and _holds_volumes(given))
    if not given.exists() or nifti:
        raise InputError("--dicom", f"needs the DICOM series that {source} was made from", "Name them with --like")
    return given


def _holds_volumes(folder: Path) -> bool:
    if any((folder / table).is_file() for table in TABLES):
        return True
    return any(path.name.lower().endswith((".nii", ".nii.gz")) for path in [*folder.glob("*"), *folder.glob("*/*")])


def export_translated(
    rows: Sequence[Mapping[str, Any]],
    output: Path,
    like: Path,
    pet_unit: str = "",
    resample: bool = False,
    rules: Deidentifier | None = None,
) -> None:
    """Write ``output/dicom/<volume>/`` of every volume translated, and ``output/dicom/exported.csv``.

    Args:
        rows: of translated.csv.
        output: folder of the volumes.
        like: the export that holds their source series.
        pet_unit: see :class:`~medtrans.scans.derived.series.Writing`.
        resample: likewise.
        rules: see :func:`~medtrans.scans.derived.exporting.export_series`.

    Raises:
        CasesFailedError: some volumes could not be written, or were not translated.
    """
    paths = [output / name for row in rows if row["status"] in ("ok", "kept") for name in row["output"].split(";")]
    export_series(paths, output / FOLDER, like, writing=Writing(resample, pet_unit=pet_unit), rules=rules)
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        problem = f"{len(failed)} of {len(rows)} cases failed, the first: {failed[0]['reason']}"
        raise CasesFailedError(output / "translated.csv", problem, "Mend them and run again; finished cases are kept")
