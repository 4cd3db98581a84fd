"""Find the scans in a folder tree by what files hold, never by what they are called."""

from __future__ import annotations

import gzip
import os
import warnings
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from medtrans.errors import InputError
from medtrans.progress import progress
from medtrans.scans.headers import ScanFile, read_dicom

HEAD = 544  # bytes that tell every format: NIfTI-2 headers are 540 long
VALUE_TYPES = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OW",
               b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"TM", b"UI", b"UL", b"UN", b"US", b"UT"}  # fmt: skip
ARCHIVES = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


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
            if real not in seen and real != excluded:
                seen.add(real)
                inside.append(name)
        names[:] = inside
        found.extend(Path(folder, name) for name in files)
    if not found:
        raise InputError(root, "holds no files", "Give the folder that holds the scanner's files")
    return sorted(found)


def scan_files(paths: Sequence[Path], workers: int = 1) -> list[ScanFile]:
    """The header of every file, read once, in the order of ``paths``."""
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # pydicom warns of every odd value, and quotes it
        results = pool.map(scan_file, paths)
        return list(progress(results, "reading headers", total=len(paths), unit="file"))


def scan_file(path: Path) -> ScanFile:
    """What ``path`` holds, by its first bytes; never raises for a bad file."""
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
        try:
            with gzip.open(path) as file:
                head = file.read(HEAD)
        except (OSError, EOFError, zlib.error):
            return path.name.endswith(".nii.gz")  # damaged, and to be told so
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _no_scan(path: Path, head: bytes) -> ScanFile:
    for mark, kind in ARCHIVES.items():
        if head.startswith(mark):
            return ScanFile(path, problem=f"{kind} archive: unpack it first")
    if head[:4] in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"):
        return ScanFile(path, problem="Analyze or two-file NIfTI header: save it as one .nii file first")
    if any(_bare_data_set(head, start) and head[start + 4 : start + 6] in VALUE_TYPES for start in range(1, 64)):
        return ScanFile(path, problem="damaged DICOM file: its data set does not begin where it should", failed=True)
    return ScanFile(path, problem="no image file")


def only_scans(files: Iterable[ScanFile]) -> list[ScanFile]:
    """The files of a format that can hold scans."""
    return [file for file in files if file.format]
