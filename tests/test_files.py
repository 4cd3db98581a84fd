"""Files are written whole or not at all; what cannot be written is told in one line."""

import errno
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from medtrans.errors import InputError
from medtrans.files import check_writable, folder_written_whole, remove_abandoned, written_whole
from medtrans.scans.export.archives import temporary_folder

NOBODY = 65534


@contextmanager
def somebody_else():
    """Without root's powers, which no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def ways_of_writing():
    """What writes below a folder, and what asks first whether it can."""

    def write(folder):
        with written_whole(folder / "a.txt") as temporary:
            temporary.write_text("new")

    def unpack(folder):
        with temporary_folder(folder):
            pass

    return [check_writable, write, unpack]


@pytest.mark.skipif(sys.platform == "win32", reason="no permissions of this kind")
@pytest.mark.parametrize("mode", [0o555, 0o000])
@pytest.mark.parametrize("below", ["", "new"])
@pytest.mark.parametrize("way", ways_of_writing())
def test_a_folder_without_permission_is_told(way, below, mode, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    with tempfile.TemporaryDirectory() as folder:  # not in pytest's, which nobody else may look into
        locked = Path(folder, "locked")
        locked.mkdir(mode=mode)
        Path(folder).chmod(0o755)
        with somebody_else(), pytest.raises(InputError, match=r"cannot be written .*denied.*folder that you may write"):
            way(locked / below)
        locked.chmod(0o700)
        assert not list(locked.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system")
@pytest.mark.parametrize("folder", ["/proc", "/proc/medtrans/below"])
@pytest.mark.parametrize("way", ways_of_writing())
def test_a_file_system_that_takes_no_files_is_told_whatever_its_permissions_say(way, folder, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    with pytest.raises(InputError, match=r"^/proc.*cannot be written .*Choose a folder that you may write to"):
        way(Path(folder))


@pytest.mark.parametrize("way", ways_of_writing())
@pytest.mark.parametrize("place", ["file", "file/below", "link/below"])
def test_a_file_in_the_place_of_a_folder_is_told(way, place, tmp_path, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    (tmp_path / "file").write_text("a file")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"cannot be written .*Choose a folder"):
        way(tmp_path / place)
    assert (tmp_path / "file").read_text() == "a file"


@pytest.mark.parametrize("below", ["", "a/b"])
def test_asking_whether_a_folder_can_be_written_leaves_nothing_behind(below, tmp_path):
    check_writable(tmp_path / below)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [("ENOSPC", "Make room"), ("EDQUOT", "Make room"), ("EROFS", "Choose a folder"), ("ENAMETOOLONG", "shorter names")],
)
def test_a_full_or_read_only_disk_is_told_and_the_old_file_stays(number, remedy, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = getattr(errno, number)
    with pytest.raises(InputError, match=remedy):
        write_and_fail(path, OSError(code, os.strerror(code)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "another file"), KeyboardInterrupt()])
def test_any_other_failure_of_a_writer_is_its_own_and_the_old_file_stays(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_and_fail(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write_and_fail(path, error):
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    with folder_written_whole(tmp_path / "new/series") as temporary:
        (temporary / "1").write_text("one")
        assert not (tmp_path / "new/series").exists()
    assert (tmp_path / "new/series/1").read_text() == "one"
    with pytest.raises(ZeroDivisionError):
        _fail_in(tmp_path / "new/other")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["series"]


def _fail_in(folder):
    with folder_written_whole(folder) as temporary:
        (temporary / "1").write_text(f"{1 / 0}")


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "series").mkdir()
    with pytest.raises(InputError, match="exists already"), folder_written_whole(tmp_path / "series"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_folders_that_killed_writers_left_are_removed(tmp_path):
    (tmp_path / ".partial-0123abcd-series").mkdir()
    (tmp_path / ".partial-0123abcd-series/1").write_text("one")
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []
