"""Unpacking stays in its folder and its room, whatever an archive holds, and leaves nothing behind."""

import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans import convert_export, read_series
from medtrans.scans.export import archives
from medtrans.scans.export.archives import UNPACKED, Allowance, remove_abandoned_folders, temporary_folder, unpack

KINDS = ["zip", "tar", "gztar", "bztar", "xztar"]


def allowance(folder, left=1 << 30):
    folder.mkdir(exist_ok=True)
    return Allowance(left, folder)


def unpacked(path, kind, folder, left=1 << 30):
    given_allowance = allowance(folder, left)
    return unpack(path, "a", kind, folder, given_allowance)


EVIL = [
    "../evil",
    "/evil",
    "a/../../../evil",
    "..\\evil",
    "C:\\evil",
    "a//b",
    "x" * 400,
    "é" * 200,
    "a/" * 60 + "b",
    ".",
]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_never_leave_their_folder_whatever_their_names(tmp_path, kind):
    path = tmp_path / "evil"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in EVIL:
                archive.writestr(name, name)
    else:
        with tarfile.open(path, "w") as archive:
            for name in EVIL:
                info = tarfile.TarInfo(name)
                info.size = len(name.encode())
                archive.addfile(info, io.BytesIO(name.encode()))
    before = set(tmp_path.rglob("*"))
    (tmp_path / "in").mkdir()
    members = unpacked(path, kind, tmp_path / "in" / "side")
    assert len(members) == len(EVIL)
    assert [member.path.read_text() for member in members] == EVIL
    new = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert new == {member.path for member in members}
    assert all(path.resolve().is_relative_to(tmp_path / "in" / "side") for path in new)
    assert all(".." not in member.place and not member.place.startswith("/") for member in members)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=12))
def test_any_names_even_equal_ones_come_out_as_files_of_their_own(tmp_path, names):
    names = [name.replace("\0", "_") for name in names if name.encode("utf-8", "ignore").decode() == name]
    path, folder = tmp_path / "any.tar", tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(struct.pack("<I", number)))
    members = [member for member in unpacked(path, "tar", folder) if not member.problem]
    assert sorted(struct.unpack("<I", member.path.read_bytes())[0] for member in members) == list(range(len(names)))


def test_links_and_devices_in_archives_are_listed_and_not_followed(make_series, tmp_path):
    path = make_series(shape=(1, 4, 4)).write(0)
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        archive.add(path, "image")
        for name, kind in [
            ("l", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("d", tarfile.CHRTYPE),
            ("f", tarfile.FIFOTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    table = convert_export(tmp_path / "links.tar", tmp_path / "out").set_index("status")
    assert table.loc["skipped", "reason"] == "link or device in an archive: not followed"
    assert table.loc["skipped", "files"] == 4
    assert table.loc["converted", "files"] == 1
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    [member] = unpacked(tmp_path / "links.zip", "zip", tmp_path / "x")
    assert member.problem == "link or device in an archive: not followed"


@pytest.mark.parametrize("kind", ["zip", "gztar", "bztar", "xztar"])
def test_archive_bombs_are_stopped_and_leave_nothing(tmp_path, kind):
    (tmp_path / "zeros").mkdir()
    with (tmp_path / "zeros" / "a").open("wb") as file:
        file.truncate(50_000_000)
    path = shutil.make_archive(str(tmp_path / "bomb"), kind, tmp_path / "zeros")
    [member] = unpacked(Path(path), kind.replace("gz", "").replace("bz", "").replace("xz", ""),
                        tmp_path / "x", left=10_000_000)  # fmt: skip
    assert member.failed
    assert "far more than an archive of images would" in member.problem
    assert not [path for path in (tmp_path / "x").rglob("*") if path.is_file()]


def test_archives_inside_share_the_allowance_of_the_outermost(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 3_000_000)
    monkeypatch.setattr(archives, "EXPANSION", 1)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as outer:
        for number in range(4):
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("zeros", bytes(1_000_000))
            outer.writestr(f"{number}.zip", inner.getvalue())
    (tmp_path / "bomb.zip").rename(tmp_path / "in.zip")
    with pytest.raises(InputError, match="far more than an archive of images would"):
        read_series(tmp_path / "in.zip")


def test_no_room_for_unpacking_is_told_before_and_leaves_the_rest_alone(two_series, tmp_path, monkeypatch):
    shutil.make_archive(str(tmp_path / "more"), "zip", two_series / "b")
    (tmp_path / "more.zip").rename(two_series / "more.zip")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=archives.RESERVE + 100))
    table = convert_export(two_series, tmp_path / "out")
    [failed] = table[table.status == "failed"].itertuples()
    assert "more room for unpacking than the 0.0 GB" in failed.reason
    assert (table.status == "converted").sum() == 3


def test_temporary_folder_of_a_killed_run_is_removed_by_the_next(tmp_path):
    code = f"""
        import time
        from pathlib import Path
        from medtrans.scans.export.archives import temporary_folder
        with temporary_folder(Path({str(tmp_path)!r})) as folder:
            (folder / "patient.dcm").write_bytes(b"x")
            print("ready", flush=True)
            time.sleep(60)
    """
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"ready\n"
        remove_abandoned_folders(tmp_path)
        assert list(tmp_path.glob(f"{UNPACKED}*/patient.dcm"))  # in use
        process.send_signal(signal.SIGKILL)
    remove_abandoned_folders(tmp_path)
    assert not list(tmp_path.iterdir())


def test_temporary_folder_is_private_respects_tmpdir_and_ends_on_errors(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)

    def interrupted():
        with temporary_folder(tmp_path / "out") as folder:
            assert folder.parent == tmp_path / "scratch"
            assert folder.stat().st_mode & 0o777 == 0o700
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list((tmp_path / "scratch").iterdir())
    assert not (tmp_path / "out").exists()


def test_time_stamps_of_members_are_kept_so_that_images_are_known_again(tmp_path):
    (tmp_path / "a").write_text("x")
    os.utime(tmp_path / "a", (1_000_000_000, 1_000_000_000))
    for kind in KINDS:
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy2(tmp_path / "a", tmp_path / "in" / "a")
        path = Path(shutil.make_archive(str(tmp_path / "t"), kind, tmp_path / "in"))
        stamps = []
        for _ in range(2):
            [member] = unpacked(path, "zip" if kind == "zip" else "tar", tmp_path / "x")
            stamps.append(member.path.stat().st_mtime)
            time.sleep(0.01)
        assert stamps[0] == stamps[1]
