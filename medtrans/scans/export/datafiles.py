"""Which other files hold the voxels of an image header: ``.img``, ``.raw``, ``.REC``."""

from __future__ import annotations

import re
from pathlib import Path

from medtrans.errors import InputError

HEADER = 65536  # bytes; headers that name their data are shorter
NAMED = re.compile(rb"^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*([^\r\n]+)((?:\r?\n[^\r\n]+)*)", re.I | re.MULTILINE)
MOST_FILES = 100_000  # that one header may name
PATTERN = re.compile(r"(?P<form>\S*%\S*)(?P<numbers>(?:\s+-?\d+)*)")


def data_files(path: Path, format: str) -> list[Path]:  # noqa: A002 - as in ScanFile
    """The files beside a header that hold its voxels, none where it holds them itself.

    Raises:
        InputError: a file it names is missing, or lies somewhere else than in its folder or below.
    """
    if format in ("nifti", "analyze"):
        return _pair(path, (".img", ".img.gz")) if format == "analyze" or _is_pair(path) else []
    if format == "parrec":
        return _pair(path, (".rec",))
    return _named(path) if format == "itk" else []


def _is_pair(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(348)
    return head[344:347] == b"ni1" or head[4:7] == b"ni2"


def _pair(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The file of the same name with one of ``suffixes``, upper or lower case."""
    stem = re.sub(r"\.(hdr|par)$", "", path.name, flags=re.IGNORECASE)
    for other in sorted(path.parent.iterdir()):
        if other.name.lower() in {f"{stem.lower()}{suffix}" for suffix in suffixes} and other.name.startswith(stem):
            return [other]
    raise InputError("image file", f"its {suffixes[0]} file is missing", "Copy both files")


def _named(path: Path) -> list[Path]:
    """The data files that a MetaImage or NRRD header names."""
    with path.open("rb") as file:
        head = file.read(HEADER)
    if head.startswith(b"NRRD"):
        head = re.split(rb"\r?\n\r?\n", head)[0]
    match = NAMED.search(head)
    if match is None or (value := match[1].decode("latin-1").strip()).upper() == "LOCAL":
        return []
    numbered = PATTERN.fullmatch(value)
    if value.upper().startswith("LIST"):
        names = [line.strip() for line in match[2].decode("latin-1").splitlines() if line.strip()]
    elif numbered:
        names = _numbered(numbered["form"], numbered["numbers"].split())
    else:
        names = [value]
    found = [path.parent / name for name in names]
    if (
        not found
        or "\0" in "".join(names)
        or not all(file.is_file() and file.resolve().is_relative_to(path.parent.resolve()) for file in found)
    ):
        raise InputError("image file", "its data file is missing", "Copy both files")
    return found


def _numbered(form: str, numbers: list[str]) -> list[str]:
    """The names that a C format such as ``slice%03d.raw`` makes of first, last and step; empty for nonsense."""
    try:
        first, last, step = [*map(int, numbers or ["1", "1"]), 1][:3]
        counted = range(first, last + 1, step)
        return [form % number for number in counted] if len(counted) <= MOST_FILES else []
    except (ValueError, TypeError, OverflowError):
        return []
