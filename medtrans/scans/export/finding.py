"""Find the scans in a folder tree or archive by what files hold, never by what they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from medtrans.errors import InputError
from medtrans.progress import progress
from medtrans.scans.export.archives import (
    UNPACKED,
    UNREADABLE,
    Allowance,
    Member,
    archive_kind,
    kind_name,
    temporary_folder,
    uncompressed_head,
    unpack,
)
from medtrans.scans.export.headers import ScanFile, read_dicom
from medtrans.scans.export.readers import read_all
from medtrans.scans.formats.parrec import MARK as PAR_MARK

HEADER_SIZES = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}  # NIfTI, Analyze
HEAD = 544  # bytes that tell every format: NIfTI-2 headers are 540 long
NESTED = 4  # archives within archives that are opened
VALUE_TYPES = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OW",
               b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT"}  # fmt: skip


def list_files(export: str | os.PathLike[str], leave_out: Path | None = None) -> list[Path]:
    """Every file under ``export`` (or the file itself), sorted; links to folders are followed once.

    Args:
        export: folder or file.
        leave_out: a folder inside ``export`` that is not part of it.

    Raises:
        InputError: it does not exist, or holds no files.
    """
    root = Path(export)
    if not root.exists():
        raise InputError(root, "does not exist", "Give the folder that holds the scanner's files")
    if root.is_file():
        return [root]
    found: list[Path] = []
    seen = {root.resolve()}
    excluded = leave_out.resolve() if leave_out else None
    for folder, names, files in os.walk(root, followlinks=True):
        inside = []
        for name in sorted(names):
            real = Path(folder, name).resolve()
            if real not in seen and real != excluded and not name.startswith(UNPACKED):
                seen.add(real)
                inside.append(name)
        names[:] = inside
        found.extend(Path(folder, name) for name in files if not name.startswith(UNPACKED))
    if not found:
        raise InputError(root, "holds no files", "Give the folder that holds the scanner's files")
    return sorted(found)


@contextmanager
def found_scans(
    export: str | os.PathLike[str] | Sequence[Path],
    workers: int = 1,
    *,
    leave_out: Path | None = None,
    near: Path | None = None,
) -> Iterator[list[ScanFile]]:
    """Every file of an export with its header, archives opened; the files can be read inside the ``with`` only.

    Archives are unpacked to a temporary folder that is removed at the end. An archive that was read is not in the
    list, its members are; one that cannot be read, or only in part, is there with its problem.

    Args:
        export: folder, file or list of files.
        workers: files read at a time.
        leave_out: a folder inside ``export`` that is not part of it.
        near: folder to unpack in unless TMPDIR is set; default the system's temporary folder.

    Raises:
        InputError: it does not exist, or holds no files.
    """
    if isinstance(export, (str, os.PathLike)):
        paths, root = list_files(export, leave_out), Path(export)
    else:
        paths, root = list(export), Path(os.path.commonpath([*export])) if export else Path()
    files = scan_files(paths, workers)
    for file in files:
        file.place = file.path.relative_to(root).as_posix() if root != file.path else file.path.name
    if not any(file.format == "archive" for file in files):
        yield files
        return
    with temporary_folder(near) as folder:
        yield _opened(files, folder, workers, alone=len(files) == 1)


def _opened(files: list[ScanFile], folder: Path, workers: int, alone: bool) -> list[ScanFile]:
    """``files`` with archives replaced by their members, and archives among these again.

    Args:
        alone: whether the archive is the export itself, so that its members lie at the top of the export.
    """
    allowances: dict[Path, Allowance] = {}
    for depth in range(NESTED):
        archives = [file for file in files if file.format == "archive"]
        if not archives:
            return files
        own = [_allowance(file, folder, allowances) for file in archives]
        places = ["" if alone and depth == 0 else file.place for file in archives]
        with ThreadPoolExecutor(workers) as pool:
            results = pool.map(_unpacked, archives, places, own)
            unpacked = list(progress(results, "unpacking", total=len(archives), unit="archive"))
        for archive, members in zip(archives, unpacked, strict=True):
            if archive.doubt:  # of the archive it came from
                members[:] = [member if member.problem else replace(member, doubt=archive.doubt) for member in members]
        files = [file for file in files if file.format != "archive"] + _scanned(unpacked, workers)
        for archive in archives:
            if archive.path.is_relative_to(folder):
                archive.path.unlink(missing_ok=True)
    for file in files:
        if file.format == "archive":
            file.format, file.problem, file.failed = "", "archives within archives too deep: unpack them first", True
    return files


def _allowance(file: ScanFile, folder: Path, allowances: dict[Path, Allowance]) -> Allowance:
    """What an archive may unpack to; one inside another shares the outermost one's."""
    if file.path.is_relative_to(folder):
        return allowances[folder / file.path.relative_to(folder).parts[0]]
    inside = folder / str(len(allowances))
    inside.mkdir()
    return allowances.setdefault(inside, Allowance.of(file.path, inside))


def _unpacked(file: ScanFile, place: str, allowance: Allowance) -> list[Member]:
    with file.path.open("rb") as opened:
        kind = archive_kind(file.path, opened.read(HEAD))
    return unpack(file.path, place or ("" if kind != "stream" else file.place), kind, allowance.folder, allowance)


def _scanned(unpacked: Sequence[Sequence[Member]], workers: int) -> list[ScanFile]:
    """The members as scan files, in the order of their archives."""
    members = [member for archive in unpacked for member in archive]
    scanned = iter(scan_files([member.path for member in members if not member.problem], workers))
    files = []
    for member in members:
        file = ScanFile(member.path, problem=member.problem, failed=member.failed) if member.problem else next(scanned)
        file.place, file.doubt = member.place, member.doubt
        files.append(file)
    return files


def scan_files(paths: Sequence[Path], workers: int = 1) -> list[ScanFile]:
    """The header of every file, read once, in the order of ``paths``."""
    return list(progress(read_all(scan_file, paths, workers), "reading headers", total=len(paths), unit="file"))


def scan_file(path: Path) -> ScanFile:
    """What ``path`` holds, by its first bytes; never raises for a bad file."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        return ScanFile(path, problem="a pipe or device, no file")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return ScanFile(path, problem=f"cannot be opened ({error.strerror})", failed=True)
    if not head:
        return ScanFile(path, problem="empty file")
    if head[128:132] == b"DICM" or _bare_data_set(head):
        return read_dicom(path)
    if is_nifti(path, head):
        return ScanFile(path, "nifti")
    if head.startswith(b"NRRD000") or (b"ObjectType" in head and b"NDims" in head):
        return ScanFile(path, "itk")
    if head[:4] in HEADER_SIZES:
        return ScanFile(path, "nifti" if head[344:347] == b"ni1" or head[4:7] == b"ni2" else "analyze")
    if PAR_MARK in head:
        return ScanFile(path, "parrec")
    if archive_kind(path, head):
        return ScanFile(path, "archive")
    return _no_scan(path, head)


def _bare_data_set(head: bytes, start: int = 0) -> bool:
    """Whether a DICOM data set, or file meta, begins at ``start`` without a preamble (little endian)."""
    group, element = (int.from_bytes(head[at : at + 2], "little") for at in (start, start + 2))
    if group not in (0x0002, 0x0008) or element > 0x0100 or len(head) < start + 16:
        return False
    return head[start + 4 : start + 6] in VALUE_TYPES or int.from_bytes(head[start + 4 : start + 8], "little") <= 256


def is_nifti(path: Path, head: bytes) -> bool:
    """Whether the file is a single-file NIfTI-1 or -2, gzipped or not."""
    if head.startswith(b"\x1f\x8b"):
        head = uncompressed_head(path, head) or b""
        if not head:
            return path.name.endswith(".nii.gz")  # damaged, and to be told so
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _no_scan(path: Path, head: bytes) -> ScanFile:
    for mark, kind in UNREADABLE.items():
        if head.startswith(mark):
            return ScanFile(path, problem=f"{kind_name(kind)}: unpack it first", failed=True)
    if any(_bare_data_set(head, start) and head[start + 4 : start + 6] in VALUE_TYPES for start in range(1, 64)):
        return ScanFile(path, problem="damaged DICOM file: its data set does not begin where it should", failed=True)
    return ScanFile(path, problem="no image file")


def refuse_nothing(export: str | os.PathLike[str], files: Sequence[ScanFile]) -> None:
    """Say that none of ``files`` is of a format that can hold scans.

    Raises:
        InputError: none is; with the first fault, where there is one.
    """
    if any(file.format for file in files):
        return
    fault = next((f": {file.problem}" for file in files if file.failed), "")
    problem = f"holds no DICOM, NIfTI, MetaImage, NRRD or PAR/REC among {len(files)} file(s){fault}"
    raise InputError(export, problem, "Give the scanner's export")
