"""``medtrans deidentify``: every DICOM file of an export as a de-identified copy, and tables of what was done."""

from __future__ import annotations

import csv
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from medtrans.errors import InputError
from medtrans.files import check_writable, file_hash, remove_abandoned, written_whole
from medtrans.progress import progress
from medtrans.scans.deidentify.headers import Deidentifier, Tally
from medtrans.scans.deidentify.instances import deidentified, why_not, write_copy
from medtrans.scans.deidentify.key import Key, Whose, refuse_inside
from medtrans.scans.deidentify.profile import Choices
from medtrans.scans.deidentify.report import write_report
from medtrans.scans.deidentify.suspicions import burned_in, face
from medtrans.scans.deidentify.volumes import COPY as COPIED
from medtrans.scans.deidentify.volumes import is_copy
from medtrans.scans.export.finding import found_scans, refuse_nothing
from medtrans.scans.export.headers import DIRECTORY, ScanFile
from medtrans.scans.export.mosaic import is_mosaic
from medtrans.scans.series.planning import owners

COLUMNS = ("patient", "study", "series", "modality", "status", "reason", "burned_in", "face", "path", "source",
           "sha256")  # fmt: skip
TABLE = "deidentified.csv"
SAVED_EVERY = 500  # files
COPY = re.compile(r"[0-9a-f]{16}\.dcm")
FORMAT = 2  # of what is written; raise it when that changes, so that old copies are made again
BURNED_IN = ("hold", "keep")
MODALITIES = {  # PS3.3 C.7.3.1.1.1, of images and what goes with them
    "AR", "BI", "BMD", "CR", "CT", "CTPROTOCOL", "DG", "DMS", "DX", "ECG", "EEG", "EMG", "EPS", "ES", "FID",
    "GM", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "LEN", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP",
    "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "OT", "PA", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE",
    "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SC", "SEG", "SM", "SMR", "SRF", "TEXTUREMAP", "TG",
    "US", "VA", "XA", "XC",
}  # fmt: skip
HELD, FAILED, SKIPPED, WRITTEN, KEPT = "held back", "failed", "skipped", "written", "kept"
Row = dict[str, str]
logger = logging.getLogger(__name__)


@dataclass
class Run:
    """What all files of one run share.

    Attributes:
        output: folder that is written to.
        rules: the profile and the key.
        hold: whether images with suspected text are held back.
        earlier: rows of an earlier run, by path.
        tally: what was done.
        seen: the files that copies were made of, by path, in this run.
        folders: those cleared of what killed runs left.
    """

    output: Path
    rules: Deidentifier
    hold: bool
    earlier: dict[str, Row]
    tally: Tally = field(default_factory=Counter)
    seen: dict[str, Path] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)


def deidentify_export(
    export: str | os.PathLike[str],
    output: str | os.PathLike[str],
    key: str | os.PathLike[str],
    choices: Choices | None = None,
    *,
    suspected: str = "hold",
    table: str | os.PathLike[str] | None = None,
    workers: int = 1,
) -> list[Row]:
    """Write a de-identified copy of every DICOM image to ``output/<patient>/<study>/<series>/<image>.dcm``.

    One bad file never stops the others. Copies of an earlier run with the same key and choices are kept.

    Args:
        export: folder, zip or tar (or file) in any layout, under any names.
        output: folder to write to.
        key: file of the key, made when it is not there; see :class:`~medtrans.scans.deidentify.key.Key`.
        choices: options of the profile; default :class:`Choices` as it stands.
        suspected: images whose pixels may show text: ``hold`` back, or ``keep``.
        table: file for who became whom, only where it is asked for.
        workers: files whose headers are read at a time.

    Returns:
        The rows of ``output/deidentified.csv``, one a file.

    Raises:
        InputError: nothing to do, nowhere to write, or a key that is none.
    """
    source, target = Path(export), Path(output)
    _check(source, target, Path(key), suspected, table)
    secret = Key(Path(key))
    rules = Deidentifier(secret, choices)
    earlier = {row["path"]: row for row in _read(target / TABLE) if row["path"]}
    run = Run(target, rules, suspected == "hold", earlier)
    with found_scans(source, workers, leave_out=target, near=target) as files, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of odd values, and quotes them
        refuse_nothing(source, files)
        owned = owners(files)
        whose = secret.owners(
            pair
            for file, pair in zip(files, owned, strict=True)
            if file.format == "dicom" and not is_copy(file, secret)
        )
        places = _series(files, [whose.get(pair) for pair in owned], secret)
        ordered = sorted(zip(files, owned, strict=True), key=lambda one: secret.mark("order", one[0].place))
        rows: list[Row] = []
        for file, pair in progress(ordered, "de-identifying", total=len(ordered), unit="file"):
            rows.append(_done(file, whose.get(pair), places.get(_uid_of(file, pair), ("", "")), run))
            if len(rows) % SAVED_EVERY == 0:  # so that a killed run keeps what it did
                write_rows(target / TABLE, {**earlier, **{row["path"]: row for row in rows if row["path"]}}.values())
        if table is not None:
            _write_identities(Path(table), ordered, rows, whose, secret)
    rows = sorted(rows, key=lambda row: tuple(row[name] for name in COLUMNS))
    write_rows(target / TABLE, rows)
    write_report(target, run.tally, rows, rules.choices)
    _tell_others(target, {row["path"] for row in rows})
    return rows


def _check(source: Path, target: Path, key: Path, suspected: str, table: str | os.PathLike[str] | None) -> None:
    if suspected not in BURNED_IN:
        raise InputError("--burned-in", f"is {suspected!r}", f"Choose one of {', '.join(BURNED_IN)}")
    if source.exists() and source.resolve() == target.resolve():
        raise InputError(target, "is the export itself", "Choose another folder to write to")
    if table is not None and Path(table).resolve() == key.resolve():
        raise InputError("--table", "is the key's file", "Name another file")
    for own in (key, *([] if table is None else [Path(table)])):
        refuse_inside(own, target)
    check_writable(target)


def _uid_of(file: ScanFile, pair: tuple[str, str]) -> tuple[str, str, str]:
    return (*pair, str(file.tags.get("SeriesInstanceUID", "")))


def _series(
    files: Sequence[ScanFile], whose: Sequence[Whose | None], key: Key
) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Folder of every series within its study, and why it may show a face."""
    gathered: dict[tuple[str, str, str], list[ScanFile]] = {}
    named: dict[tuple[str, str, str], Whose] = {}
    for file, owner, pair in zip(files, whose, owners(files), strict=True):
        if owner is not None and file.format == "dicom":
            gathered.setdefault(_uid_of(file, pair), []).append(file)
            named[_uid_of(file, pair)] = owner
    places = {}
    with key.naming() as names:
        for series in sorted(gathered, key=lambda series: key.mark("series", *series)):
            owner, tags = named[series], gathered[series][0].tags
            number = tags.get("SeriesNumber")
            name = f"{number:03d}" if isinstance(number, int) and 0 <= number < 10**5 else "series"
            scope = f"DICOM series of {owner.name}/{owner.study}"
            place = names.unique(scope, series[2], f"{name}-{modality_of(tags)}".removesuffix("-"))
            places[series] = place, face(gathered[series])
    return places


def modality_of(tags: Mapping[str, Any]) -> str:
    """The modality where it is one of DICOM's, empty for text that somebody put there."""
    stated = str(tags.get("Modality") or "")
    return stated if stated in MODALITIES else ""


def _done(file: ScanFile, whose: Whose | None, series: tuple[str, str], run: Run) -> Row:
    """The row of one file, once its copy is written or it is known why there is none."""
    row = dict.fromkeys(COLUMNS, "") | {"status": SKIPPED}
    if file.format != "dicom":
        reason = file.problem or "no DICOM file: convert it with `medtrans convert --deidentify`"
        return row | {"status": FAILED if file.failed else SKIPPED, "reason": reason}
    if file.problem == DIRECTORY:
        return row | {"reason": "DICOM directory: names files that are not there any more"}
    if is_copy(file, run.rules.key):
        return row | {"status": FAILED, "reason": f"{COPIED}. Give the original, or another key"}
    if whose is None:
        reason = file.problem or "says neither whose it is nor of which series"
        return row | {"status": SKIPPED if file.problem and not file.failed else FAILED, "reason": reason}
    row |= {"patient": whose.name, "study": whose.study, "series": series[0]}
    row["modality"] = modality_of(file.tags)
    row["path"] = _path(row, file.tags.get("SOPInstanceUID"), file, run)
    try:
        row = _copied(file, whose, row, series[1], run)
    except InputError as error:
        row |= {"status": FAILED, "reason": f"{error.problem}. {error.remedy}"}
    except Exception as error:  # pydicom raises many kinds on damaged files, and quotes them
        logger.debug("de-identification failed: %s", type(error).__name__)
        row |= {"status": FAILED, "reason": f"unexpected {type(error).__name__} while de-identifying"}
    if row["status"] in (HELD, FAILED):
        _withdraw(row["path"], file, run)
    return row if row["status"] in (WRITTEN, KEPT) else row | {"path": "", "source": ""}


def _path(row: Row, uid: Any, file: ScanFile, run: Run) -> str:
    """Where the copy of an image lies, relative to the output."""
    name = run.rules.key.mark("image", str(uid or file.place))
    return "/".join([row["patient"], row["study"], row["series"], f"{name}.dcm"])


def _withdraw(path: str, file: ScanFile, run: Run) -> None:
    """Remove what an earlier run, with other choices, wrote of an image that is not handed on now."""
    if run.seen.get(path, file.path) != file.path:
        return  # the copy of another file under the same UID
    run.seen.pop(path, None)
    run.earlier.pop(path, None)
    (run.output / path).unlink(missing_ok=True)


def _tell_others(target: Path, listed: set[str]) -> None:
    """Say that copies of earlier runs, maybe with other choices, lie in ``target`` whose sources are gone."""
    found = (path for path in target.glob("*/*/*/*.dcm") if COPY.fullmatch(path.name))
    others = sum(path.relative_to(target).as_posix() not in listed for path in found)
    if others:
        logger.warning("%s: %d copies are of earlier runs and not in %s", target, others, TABLE)


def _copied(file: ScanFile, whose: Whose, row: Row, faced: str, run: Run) -> Row:
    dataset = pydicom.dcmread(file.path, stop_before_pixels=True, force=True)
    row["path"] = _path(row, dataset.get("SOPInstanceUID"), file, run)
    reason = why_not(dataset)
    if reason:
        return row | {"status": HELD, "reason": reason}
    row["burned_in"] = burned_in(file.tags)
    row["face"] = faced
    if row["burned_in"] and run.hold:
        return row | {"status": HELD, "reason": "its pixels may show text: look, then choose --burned-in keep"}
    if file.failed and "damaged" in file.problem:
        return row | {"status": FAILED, "reason": file.problem}
    choices = run.rules.choices
    made = [str(FORMAT), *sorted(choices.retain), choices.dates, row["face"], whose.name]
    row["source"] = run.rules.key.mark("source", file_hash(file.path), *made)
    twin = run.seen.get(row["path"])
    if twin is not None:
        if file_hash(twin) == file_hash(file.path) or _pixels(twin) == _pixels(file.path):
            return row | {"status": SKIPPED, "reason": "copy of another file"}
        problem = "another image of the export has the same SOPInstanceUID. Export both again"
        return row | {"status": FAILED, "reason": problem}
    run.seen[row["path"]] = file.path
    row["reason"] = lost(file, choices)
    target = run.output / row["path"]
    before = run.earlier.get(row["path"], {})
    if before.get("source") == row["source"] and target.is_file() and file_hash(target) == before["sha256"]:
        deidentified(dataset, run.rules, whose, run.tally, bool(faced))  # for the report
        return row | {"status": KEPT, "sha256": before["sha256"]}
    if target.parent not in run.folders:
        run.folders.add(target.parent)
        remove_abandoned(target.parent)
    _, row["sha256"] = write_copy(file.path, target, run.rules, whose, run.tally, bool(faced))
    return row | {"status": WRITTEN}


def _pixels(path: Path) -> Any:
    dataset = pydicom.dcmread(path, force=True)
    return dataset.get("PixelData") or str(path)


def lost(file: ScanFile, choices: Choices) -> str:
    """What cannot be done with a copy any more, and how it still can; empty where nothing is lost."""
    if is_mosaic(file.tags):
        return "Siemens mosaic: without its private header its slices cannot be placed. Convert the original"
    if file.tags.get("Modality") != "PT" or file.tags.get("Units") == "GML":
        return ""
    needed = [*([] if "patient" in choices.retain else ["--retain patient"])]
    needed += [] if choices.dates == "shift" else ["--dates shift"]
    return f"SUV cannot be computed from it: choose {' and '.join(needed)}" if needed else ""


def _write_identities(
    path: Path,
    ordered: Sequence[tuple[ScanFile, tuple[str, str]]],
    rows: Sequence[Row],
    whose: Mapping[tuple[str, str], Whose],
    key: Key,
) -> None:
    """Who became whom, for the one who may know: readable by its owner only."""
    columns = ("patient", "original_patient", "study", "original_study", "days", "status", "reason", "path", "file")
    with written_whole(path) as temporary:
        handle = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for (scan, pair), row in zip(ordered, rows, strict=True):
                owner = whose.get(pair) if scan.format == "dicom" else None
                who: tuple[Any, ...] = ("", "", "", "", "")
                if owner is not None:
                    who = (owner.name, pair[0], owner.study, pair[1], key.days(pair[0]))
                writer.writerow([*who, row["status"], row["reason"], row["path"], scan.place])


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """``46 files: 30 written, 0 kept, 4 held back, 12 skipped, 0 failed``."""
    count = Counter(row["status"] for row in rows)
    return f"{len(rows)} files: " + ", ".join(
        f"{count[word]} {word}" for word in (WRITTEN, KEPT, HELD, SKIPPED, FAILED)
    )


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """The table as CSV."""
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read(path: Path) -> list[Row]:
    """The rows of an earlier run; none where there was none or the table is damaged: copies are made again then."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            return list(reader) if set(COLUMNS) <= set(reader.fieldnames or ()) else []
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
