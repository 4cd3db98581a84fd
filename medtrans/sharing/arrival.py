"""A packed bundle where it arrives: unpacked without leaving its folder, every file the one that was packed."""

from __future__ import annotations

import json
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from medtrans.errors import InputError
from medtrans.files import file_hash, folder_written_whole
from medtrans.sharing.archive import FORMAT, MANIFEST
from medtrans.weights import read_weights

ANEW = "Get the bundle again, from whom you trust"
PACKED = "Give what `medtrans bundle pack` wrote"
LARGEST_MANIFEST = 1 << 24  # bytes
SMALL, LARGEST_RATIO = 1 << 20, 20  # bytes, and how much smaller a zip's larger files may be: `pack` compresses nothing
READ_AS_CODE = (".py", ".so", ".pyd", ".pth", ".json", ".yaml", ".yml", ".conf")
WRITTEN_HERE = ("eval",)  # by trainings and inferences of the unpacked bundle


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bundle into ``folder/<its name>``, whole or not at all.

    Raises:
        InputError: it is no packed bundle, a name would lead out of the folder, a file is not the one that was packed,
            weights hold code, or there is such a folder already.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _entries(archive, opened)
            top = PurePosixPath(next(iter(entries))).parts[0]
            said = _said(archive, _read_manifest(archive, opened, entries.get(f"{top}/{MANIFEST}")))
            _check_entries(archive, entries, top, said)
            with folder_written_whole(folder.expanduser() / top) as temporary:
                for name, entry in entries.items():
                    path = temporary.joinpath(*PurePosixPath(name).parts[1:])
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(entry) as source, path.open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                check_unpacked(temporary)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InputError(archive, f"cannot be read as a packed bundle ({error})", ANEW) from error
    return folder.expanduser() / top


def verify(path: Path) -> dict[str, Any]:
    """Check a packed bundle, or the folder of an unpacked one; returns what its manifest says.

    Raises:
        InputError: see :func:`unpack`.
    """
    if path.is_dir():
        return check_unpacked(path)
    with tempfile.TemporaryDirectory() as temporary:
        return check_unpacked(unpack(path, Path(temporary)))


def check_unpacked(folder: Path) -> dict[str, Any]:
    """Compare every file with the manifest, and read the weights; returns what the manifest says.

    Raises:
        InputError: a file is absent, changed, or a config was added, or weights hold code.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(folder, f"is no packed bundle (it has no {MANIFEST})", PACKED)
    said = _said(folder, path.read_bytes())
    for name, known in said["files"].items():
        file = folder / name
        if not file.is_file():
            raise InputError(file, "is not there, though it was packed", ANEW)
        if file_hash(file) != known["sha256"]:
            raise InputError(file, "was changed since the bundle was packed", ANEW)
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        beside = name.parts[0] in WRITTEN_HERE or name.as_posix() in (MANIFEST, *said["files"])
        if file.is_file() and not beside and (file.suffix in READ_AS_CODE or name.parts[0] == "configs"):
            raise InputError(file, "was added since the bundle was packed", "Take it away: it would be run as code")
    for file in sorted((folder / "models").glob("*.pt")):
        read_weights(file)
    return said


def _entries(archive: Path, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of the zip by name, refused where a name is not plain."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in opened.infolist():
        name, mode = entry.filename, entry.external_attr >> 16
        plain = not (name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name))
        plain = plain and not {"", ".", ".."} & set(name.rstrip("/").split("/"))
        if not plain or name in entries or stat.S_ISLNK(mode):
            raise InputError(archive, f"holds a name that leads elsewhere or stands twice ({name!r})", ANEW)
        if entry.file_size > max(SMALL, LARGEST_RATIO * entry.compress_size):
            raise InputError(archive, f"unpacks to far more than it is ({name!r}); nothing of it was written", PACKED)
        if not entry.is_dir():
            entries[name] = entry
    tops = {PurePosixPath(name).parts[0] for name in entries}
    if len(tops) != 1 or any("/" not in name for name in entries):
        raise InputError(archive, "is no packed bundle (it has not one folder at the top)", ANEW)
    return entries


def _read_manifest(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> bytes:
    if entry is None or entry.file_size > LARGEST_MANIFEST:
        raise InputError(archive, f"is no packed bundle (it has no {MANIFEST})", PACKED)
    return opened.read(entry)


def _said(where: Path, text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
        known = said["format"] == FORMAT and all({"sha256", "bytes"} <= set(of) for of in said["files"].values())
        known = known and not any(name.startswith("/") or ".." in name.split("/") for name in said["files"])
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise InputError(where, f"has a {MANIFEST} that says nothing in format {FORMAT}", ANEW)
    return said


def _check_entries(archive: Path, entries: dict[str, zipfile.ZipInfo], top: str, said: dict[str, Any]) -> None:
    """Files and sizes are those of the manifest, before anything is written."""
    found = {name.removeprefix(f"{top}/"): entry.file_size for name, entry in entries.items()}
    found.pop(MANIFEST, None)
    wanted = {name: known["bytes"] for name, known in said["files"].items()}
    if found != wanted:
        name = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[0]
        raise InputError(archive, f"holds another {name} than was packed", ANEW)
