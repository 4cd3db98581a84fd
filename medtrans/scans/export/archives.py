"""Archives in an export: unpacked to a temporary folder that ends with the run, without trusting what they hold."""

from __future__ import annotations

import bz2
import calendar
import gzip
import hashlib
import logging
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from medtrans.files import unwritable

logger = logging.getLogger(__name__)
UNPACKED = ".medtrans-unpacked-"  # how temporary folders begin
STREAMS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
UNREADABLE = {b"7z\xbc\xaf": "7z", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "Zstandard"}
DOCUMENTS = {"[content_types].xml", "mimetype", "meta-inf/manifest.mf"}  # Office, OpenDocument, Java: zip, no export
BLOCK = 1 << 20
EXPANSION = 250  # times its own size that an archive may unpack to; images hardly ever pass 20
SMALL = 1 << 30  # bytes that any archive may unpack to
RESERVE = 1 << 29  # bytes to be left free on the disk
LONGEST_NAME = 150  # bytes of a file name; common file systems take 255
DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)
REMEDY = "Copy or export it again"
INCOMPLETE = "comes from an archive that could not be read whole: slices may be missing"


class RefusedArchiveError(Exception):
    """Why an archive, or the rest of it, is not read.

    Args:
        problem: for the user.
        keep: what came out before can be trusted,
        doubted: but not the last of it.
    """

    def __init__(self, problem: str, keep: bool = False, doubted: bool = False) -> None:
        super().__init__(problem)
        self.problem, self.keep, self.doubted = problem, keep, doubted


@dataclass
class Allowance:
    """What an archive, with the archives inside it, may still unpack to.

    Attributes:
        left: bytes.
        folder: where to, for the room on its disk.
    """

    left: int
    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, archive: Path, folder: Path) -> Allowance:
        """By the size of the outermost archive."""
        return cls(max(SMALL, EXPANSION * archive.stat().st_size), folder)

    def take(self, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            RefusedArchiveError: they are too many for the archive, or for the disk.
        """
        with self.lock:
            self.left -= size
        if self.left < 0:
            raise RefusedArchiveError("unpacks to far more than an archive of images would: not read")
        self.check_room(size)

    def check_room(self, size: int) -> None:
        """Raise when ``size`` bytes more would fill the disk."""
        free = shutil.disk_usage(self.folder).free - RESERVE
        if size > free:
            raise RefusedArchiveError(
                f"needs more room for unpacking than the {max(free, 0) / 1e9:.1f} GB that the temporary folder has. "
                "Set TMPDIR to a folder on a larger disk, or unpack it"
            )


@dataclass(frozen=True)
class Member:
    """One file out of an archive.

    Attributes:
        path: where it lies now.
        place: where it was: the archive's own place, then its name in there.
        problem: why it could not be unpacked, empty otherwise; ``path`` is the archive then.
        failed: whether ``problem`` is a fault.
        doubt: what the user should know about volumes from it.
    """

    path: Path
    place: str
    problem: str = ""
    failed: bool = False
    doubt: str = ""


@contextmanager
def temporary_folder(near: Path | None = None) -> Iterator[Path]:
    """A folder of one's own, removed at the end; those that killed runs left in the same place are removed first.

    Args:
        near: folder to make it in unless TMPDIR is set, made when it is not there; default the system's.

    Raises:
        InputError: it cannot be made.
    """
    base = Path(tempfile.gettempdir()) if near is None or os.environ.get("TMPDIR") else near
    try:
        base.mkdir(parents=True, exist_ok=True)
        remove_abandoned_folders(base)
        handle, name = tempfile.mkstemp(".lock", UNPACKED, base)
    except OSError as error:
        raise unwritable(base, error) from error
    os.close(handle)
    folder = Path(name.removesuffix(".lock"))
    with FileLock(name):  # the system lets go of it when the process dies
        folder.mkdir(mode=0o700)  # only ever made under its lock, so that no other run takes it for abandoned
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(name).unlink(missing_ok=True)


def remove_abandoned_folders(base: Path) -> None:
    """Remove the temporary folders in ``base`` whose process is gone."""
    for folder in base.glob(f"{UNPACKED}*"):
        lock = folder.with_name(f"{folder.name}.lock")
        if not folder.is_dir() or not lock.exists():
            continue
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def archive_kind(path: Path, head: bytes) -> str:
    """``zip``, ``tar``, ``stream`` (one compressed file) or empty, by content; ``head`` is its first 544 bytes.

    A compressed tar is a ``tar``. Office documents and Java programs, zip files by content, are none.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "" if _is_document(path) else "zip"
    if _is_tar(head):
        return "tar"
    inner = uncompressed_head(path, head)
    return "" if inner is None else "tar" if _is_tar(inner) else "stream"


def uncompressed_head(path: Path, head: bytes, size: int = 544) -> bytes | None:
    """The first bytes behind a gzip, bzip2 or xz compression: empty when damaged, None when not compressed."""
    opener = next((opener for mark, opener in STREAMS.items() if head.startswith(mark)), None)
    if opener is None:
        return None
    try:
        with opener(path) as stream:
            return bytes(stream.read(size))
    except DAMAGE:
        return b""


def _is_tar(head: bytes) -> bool:
    """By the check sum of its first header, which also the oldest tar files have."""
    if len(head) < 512 or not any(head[:100]):
        return False
    try:
        stated = int(head[148:156].strip(b"\0 ") or b"-1", 8)
    except ValueError:
        return False
    return stated == sum(head[:148]) + 8 * 0x20 + sum(head[156:512])


def _is_document(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(DOCUMENTS & {name.lower() for name in archive.namelist()})
    except (*DAMAGE, ValueError, NotImplementedError):
        return False  # damaged, and to be told so


def unpack(archive: Path, place: str, kind: str, folder: Path, allowance: Allowance) -> list[Member]:
    """Every file of an archive, and its faults; never raises for a bad archive.

    Members keep their names, made fit for the disk, below a folder that they cannot leave. Links and devices are not
    followed. A damaged zip gives the members whose check sums hold, a tar that was cut short the whole members before
    the cut, a compressed tar nothing unless its check sum holds, because any of it may be wrong.

    Args:
        archive: the file.
        place: where the user sees it.
        kind: as :func:`archive_kind` says.
        folder: an existing folder to unpack to.
        allowance: what it may unpack to.
    """
    members: list[Member] = []
    below = Path(tempfile.mkdtemp(dir=folder))
    readers = {"zip": _unpack_zip, "tar": _unpack_tar, "stream": _unpack_stream}
    try:
        for member in readers[kind](archive, place, below, allowance):
            members.append(member)
    except RefusedArchiveError as refusal:
        members = members[: -1 if refusal.doubted else None] if refusal.keep else []
        members.append(Member(archive, place, f"{kind_name(kind)}: {refusal}", failed=True))
    except Exception as error:  # zipfile and tarfile raise many kinds on damaged headers
        logger.debug("unpacking failed: %s", type(error).__name__)  # its text may quote names
        members = [Member(archive, place, f"{kind_name(kind)}: damaged ({type(error).__name__}). {REMEDY}", True)]
    if not any(member.path != archive for member in members):
        shutil.rmtree(below, ignore_errors=True)
    if any(member.failed for member in members):
        members = [member if member.problem else replace(member, doubt=INCOMPLETE) for member in members]
    return members


def kind_name(kind: str) -> str:
    """What messages call it."""
    return "compressed file" if kind == "stream" else f"{kind} archive"


def _unpack_zip(archive: Path, place: str, below: Path, allowance: Allowance) -> Iterator[Member]:
    try:
        opened = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise RefusedArchiveError(f"cut short or damaged. {REMEDY}") from error
    problems: dict[str, int] = {}
    with opened as source:
        infos = [info for info in source.infolist() if not info.is_dir()]
        allowance.check_room(sum(info.file_size for info in infos))
        for info in infos:
            own = place_inside(place, info.filename)
            mode = info.external_attr >> 16
            if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield Member(archive, own, "link or device in an archive: not followed")
                continue
            path = _path_for(below, info.filename)
            problem = _zip_problem(source, info, path, allowance)
            if problem:
                problems[problem] = problems.get(problem, 0) + 1
            else:
                yield Member(path, own)
    for problem, count in problems.items():
        yield Member(archive, place, f"zip archive: {count} members {problem}", failed=True)


def _zip_problem(source: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, allowance: Allowance) -> str:
    """Unpack one member; why it could not be, empty otherwise."""
    if info.flag_bits & 0x1:
        return "need a password. Unpack it first"
    try:
        when = calendar.timegm((*info.date_time, 0, 0, 0))
        with source.open(info) as stream:
            _copy(stream, path, when, allowance)
    except NotImplementedError:
        return "are compressed by a method that is not supported. Unpack it first"
    except (*DAMAGE, RuntimeError, ValueError):
        path.unlink(missing_ok=True)
        return f"are damaged. {REMEDY}"
    return ""


def _unpack_tar(archive: Path, place: str, below: Path, allowance: Allowance) -> Iterator[Member]:
    """Members in the order of the archive, streamed once.

    A tar file has no check sum over its contents, a compression has, at its end: what came out of one that does not
    reach a right check sum may be anything.
    """
    compressed = not _is_tar(_first_bytes(archive))
    try:
        with tarfile.open(archive) as source:
            for info in source:
                yield from _tar_member(source, info, archive, place, below, allowance)
                source.members.clear()  # type: ignore[attr-defined]  # else it remembers every one
            _check_end(source)
    except (EOFError, tarfile.TarError, _MisplacedError) as error:
        if compressed and not _is_whole(archive):
            raise RefusedArchiveError(f"cut short or damaged, nothing in it can be checked. {REMEDY}") from error
        problem = f"cut short or damaged; what came before was read. {REMEDY}, series in it may be incomplete"
        raise RefusedArchiveError(problem, keep=True, doubted=isinstance(error, _MisplacedError)) from error
    except (OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk, not of the archive
            raise
        raise RefusedArchiveError(f"damaged: its check sum is wrong. {REMEDY}") from error


class _MisplacedError(Exception):
    """What should be a header or nothing is something else: bytes may have been lost or added before it."""


def _check_end(source: tarfile.TarFile) -> None:
    """Read on to the check sum of the compression; raise where the archive does not end as it should."""
    stream: Any = source.fileobj
    stream.seek(source.offset)
    block = stream.read(tarfile.BLOCKSIZE)
    behind = False
    while more := stream.read(BLOCK):
        behind = behind or any(more)
    if len(block) < tarfile.BLOCKSIZE:
        raise EOFError
    if any(block) or behind:
        raise _MisplacedError


def _is_whole(archive: Path) -> bool:
    """Whether a compressed file reaches its end and its check sum is right."""
    opener = next(opener for mark, opener in STREAMS.items() if _first_bytes(archive).startswith(mark))
    try:
        with opener(archive) as stream:
            while stream.read(BLOCK):
                pass
    except DAMAGE:
        return False
    return True


def _tar_member(
    source: tarfile.TarFile, info: tarfile.TarInfo, archive: Path, place: str, below: Path, allowance: Allowance
) -> Iterator[Member]:
    own = place_inside(place, info.name)
    if info.isdir():
        return
    if not info.isfile():
        yield Member(archive, own, "link or device in an archive: not followed")
        return
    stream = source.extractfile(info)
    assert stream is not None
    path = _path_for(below, info.name)
    try:
        _copy(stream, path, info.mtime, allowance)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    yield Member(path, own)


def _unpack_stream(archive: Path, place: str, below: Path, allowance: Allowance) -> Iterator[Member]:
    """The one file behind a compression."""
    head = _first_bytes(archive)
    opener = next(opener for mark, opener in STREAMS.items() if head.startswith(mark))
    path = _path_for(below, archive.name.rpartition(".")[0] or archive.name)
    try:
        with opener(archive) as stream:
            _copy(stream, path, archive.stat().st_mtime, allowance)
    except RefusedArchiveError:
        raise
    except DAMAGE as error:
        raise RefusedArchiveError(f"cut short or damaged. {REMEDY}") from error
    yield Member(path, place)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(544)


def _copy(stream: IO[bytes], path: Path, when: float, allowance: Allowance) -> None:
    """Write all of ``stream``, counted, with the time stamp that it had."""
    with path.open("xb") as file:
        while block := stream.read(BLOCK):
            allowance.take(len(block))
            file.write(block)
    with suppress(OSError, OverflowError, ValueError):
        os.utime(path, (when, when))


def place_inside(place: str, name: str) -> str:
    """Where the user sees the member ``name`` of the archive at ``place``; never above it."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join([*([place] if place else []), *(parts or ["unnamed"])])


def _path_for(below: Path, name: str) -> Path:
    """A free path below ``below`` for a member: absolute names, ``..`` and what a disk does not take are made safe."""
    parts = [_fit(part) for part in place_inside("", name).split("/")]
    if len(parts) > 20:
        parts = [_digest("/".join(parts[:-1])), parts[-1]]
    for attempt in range(1000):
        path = below.joinpath(str(attempt), *parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):  # a file has the name of a folder
            continue
        if not path.exists():
            return path
    raise RefusedArchiveError("holds one name a thousand times: not read")


def _fit(part: str) -> str:
    safe = "".join("_" if ord(letter) < 32 or letter in ':*?"<>|' else letter for letter in part)
    raw = safe.encode("utf-8", "surrogateescape")
    if len(raw) <= LONGEST_NAME:
        return safe
    return _digest(part) + os.fsdecode(raw[-100:]).encode("ascii", "replace").decode().replace("?", "_")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
