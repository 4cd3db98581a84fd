import bz2
import gzip
import io
import lzma
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

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans import convert_export, read_series
from medtrans.scans.export import archives
from medtrans.scans.export.archives import UNPACKED, Allowance, remove_abandoned_folders, temporary_folder, unpack
from medtrans.scans.export.finding import scan_file

KINDS = ["zip", "tar", "gztar", "bztar", "xztar"]
SAME = ["patient", "study", "series", "files", "slices", "shape", "spacing", "unit", "status", "path", "frame"]


@pytest.fixture
def two_series(make_series):
    """A CT and an MR of two patients, a NIfTI, and a text, in folders with odd names; 11 files."""
    first = make_series(shape=(4, 6, 8), seed=1)
    for k in range(4):
        first.write(k, f"Größe/Ж{k}")
    second = make_series(shape=(5, 6, 8), seed=2, PatientID="B", Modality="CT", RescaleIntercept=-1024, RescaleSlope=1)
    for k in range(5):
        second.write(k, f"b/{k}.dcm")
    (first.folder / "sub-01").mkdir()
    image = nib.Nifti1Image(np.arange(60, dtype=np.float32).reshape(3, 4, 5), np.eye(4))
    nib.save(image, first.folder / "sub-01" / "sub-01_T1w.nii.gz")
    (first.folder / "readme").write_text("hello")
    return first.folder


def volumes(out):
    """Name of the volume -> its values and affine."""
    return {
        path.relative_to(out).as_posix(): (nib.load(path).get_fdata(), nib.load(path).affine)
        for path in out.rglob("*.nii.gz")
    }


def assert_same_volumes(one, other):
    assert one.keys() == other.keys()
    for name, (array, affine) in one.items():
        np.testing.assert_array_equal(other[name][0], array)
        np.testing.assert_array_equal(other[name][1], affine)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_converts_as_the_folder_it_holds(two_series, tmp_path, kind):
    folder = convert_export(two_series, tmp_path / "plain")
    archive = shutil.make_archive(str(tmp_path / "all"), kind, two_series)
    table = convert_export(archive, tmp_path / "out")
    assert table[SAME].equals(folder[SAME])
    assert table.files.sum() == 11
    assert_same_volumes(volumes(tmp_path / "plain"), volumes(tmp_path / "out"))
    assert not list(tmp_path.rglob(f"{UNPACKED}*"))


def test_second_conversion_of_an_archive_keeps_everything(two_series, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", two_series)
    convert_export(archive, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}
    again = convert_export(archive, tmp_path / "out")
    assert again[again.status == "converted"].reason.str.startswith("kept from an earlier run").all()
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}


def test_archives_within_archives_and_gzipped_images_are_opened(two_series, tmp_path):
    reference = convert_export(two_series, tmp_path / "plain")
    export = tmp_path / "nested"
    export.mkdir()
    for path in (two_series / "b").iterdir():
        with gzip.open(export / f"{path.name}.gz", "wb") as packed:
            packed.write(path.read_bytes())
    shutil.make_archive(str(tmp_path / "inner"), "gztar", two_series / "Größe")
    with zipfile.ZipFile(export / "outer.zip", "w") as outer:
        outer.write(tmp_path / "inner.tar.gz", "x/inner.dat")
        outer.write(two_series / "readme", "readme")
    table = convert_export(export, tmp_path / "out")
    assert table.files.sum() == 10
    columns = ["series", "files", "slices", "shape", "spacing", "unit", "frame"]
    dicom = reference[reference.frame != ""]
    assert sorted(table[table.status == "converted"][columns].to_numpy().tolist()) == sorted(
        dicom[columns].to_numpy().tolist()
    )


def test_archives_too_deep_within_one_another_fail(make_series, tmp_path):
    data = make_series(shape=(1, 4, 4)).write(0).read_bytes()
    for _ in range(9):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("x", data)
        data = buffer.getvalue()
    (tmp_path / "deep.zip").write_bytes(data)
    with pytest.raises(InputError, match="archives within archives too deep"):
        read_series(tmp_path / "deep.zip")


def test_copies_in_an_archive_beside_the_folder_are_dropped(two_series, tmp_path):
    shutil.make_archive(str(two_series / "copy"), "zip", two_series / "b")
    table = convert_export(two_series, tmp_path / "out")
    assert table.files.sum() == 16
    [ct] = table[table.modality == "CT"].itertuples()
    assert (ct.status, ct.files, ct.slices) == ("converted", 10, 5)


def test_series_split_over_archive_and_folder_is_one_volume(make_series, tmp_path, reference_image):
    series = make_series().write_all()
    with zipfile.ZipFile(series.folder / "rest.zip", "w") as archive:
        for k in (1, 3):
            archive.write(series.folder / f"slice{k}", f"{k}")
            (series.folder / f"slice{k}").unlink()
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_one_compressed_image_is_read(make_series, tmp_path, pack):
    path = make_series(shape=(1, 4, 4)).write(0)
    (tmp_path / "image").write_bytes(pack(path.read_bytes()))
    [volume] = read_series(tmp_path / "image")
    assert volume.array.shape == (4, 4, 1)


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


def encrypted(path):
    """Set the bit that says "encrypted" in every header of a zip file."""
    raw = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = raw.find(mark)
        while start >= 0:
            raw[start + at] |= 1
            start = raw.find(mark, start + 4)
    path.write_bytes(raw)


def test_zip_with_a_password_fails_with_that_reason(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4)).write_all()
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "secret")
        archive.writestr("y", "secret")
    encrypted(path)
    with pytest.raises(InputError, match="zip archive: 2 members need a password"):
        convert_export(path, tmp_path / "out")
    path.rename(series.folder / "locked.zip")
    table = convert_export(series.folder, tmp_path / "out").set_index("status")
    assert table.loc["converted", "files"] == 3
    assert table.loc["failed", "reason"] == "zip archive: 2 members need a password. Unpack it first"


def test_damaged_zip_member_fails_and_the_others_are_read(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4)).write_all()
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(3):
            archive.write(series.folder / f"slice{k}", f"{k}")
        archive.writestr("text", "some text")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"some text", b"some tixt", 1))
    table = convert_export(path, tmp_path / "out").set_index("status")
    assert table.loc["converted", "files"] == 3
    assert "1 members are damaged" in table.loc["failed", "reason"]


def test_series_that_lost_every_other_slice_to_a_damaged_zip_is_refused(make_series, tmp_path):
    series = make_series(shape=(5, 4, 4)).write_all()
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(5):
            archive.write(series.folder / f"slice{k}", f"{k}")
        offsets = [info.header_offset for info in archive.infolist()]
    raw = bytearray(path.read_bytes())
    for k in (1, 3):
        raw[offsets[k] + 400] ^= 1
    path.write_bytes(raw)
    table = convert_export(path, tmp_path / "out")
    assert list(table.status) == ["failed"] * 2
    assert table.reason.str.contains("4.000 mm apart, the header says 2.000: are some missing").sum() == 1


def tarred(series, path, mode):
    with tarfile.open(path, mode) as archive:
        for k in range(len(series.pixels)):
            archive.add(series.folder / f"slice{k}", f"{k}")
    return path.read_bytes()


def test_tar_cut_short_gives_its_whole_members_and_fails(make_series, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60000, (6, 64, 64)).astype(np.uint16)
    series = make_series(pixels).write_all()
    path = tmp_path / "all.tar"
    raw = tarred(series, path, "w")
    with tarfile.open(path) as archive:
        ends = [info.offset_data + info.size for info in archive]
    cut = len(raw) * 6 // 10
    path.write_bytes(raw[:cut])
    table = convert_export(path, tmp_path / "out").set_index("status")
    assert table.loc["converted", "slices"] == sum(end <= cut for end in ends) in (2, 3, 4)
    assert "cut short or damaged; what came before was read" in table.loc["failed", "reason"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tar_cut_short_is_refused_because_nothing_in_it_is_checked(make_series, tmp_path, mode):
    series = make_series(np.random.default_rng(0).integers(0, 60000, (6, 64, 64)).astype(np.uint16)).write_all()
    path = tmp_path / "all.tar"
    raw = tarred(series, path, mode)
    path.write_bytes(raw[: len(raw) * 6 // 10])
    with pytest.raises(InputError, match="cut short or damaged"):
        convert_export(path, tmp_path / "out")


def test_image_before_a_misplaced_tar_header_is_not_used(make_series, tmp_path):
    series = make_series(shape=(6, 8, 8)).write_all()
    path = tmp_path / "all.tar"
    raw = tarred(series, path, "w")
    with tarfile.open(path) as archive:
        middle = archive.getmembers()[3].offset_data + 700
    path.write_bytes(raw[:middle] + b"stray" + raw[middle:])
    table = convert_export(path, tmp_path / "out").set_index("status")
    assert table.loc["converted", "slices"] == 3
    assert "cut short or damaged" in table.loc["failed", "reason"]


def test_tar_that_ends_between_two_members_fails(make_series, tmp_path):
    series = make_series(shape=(4, 8, 8)).write_all()
    path = tmp_path / "all.tar"
    tarred(series, path, "w")
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:third])
    table = convert_export(path, tmp_path / "out").set_index("status")
    assert table.loc["converted", "slices"] == 2
    assert "cut short" in table.loc["failed", "reason"]
    assert "could not be read whole: slices may be missing" in table.loc["converted", "reason"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_nothing_of_a_compressed_tar_with_wrong_bytes_is_used(make_series, tmp_path, mode):
    series = make_series(np.random.default_rng(0).integers(0, 60000, (6, 64, 64)).astype(np.uint16)).write_all()
    path = tmp_path / "all.tar"
    raw = bytearray(tarred(series, path, mode))
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)
    with pytest.raises(InputError, match="damaged"):
        convert_export(path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_zip_cut_short_fails(two_series, tmp_path):
    path = Path(shutil.make_archive(str(tmp_path / "all"), "zip", two_series))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="zip archive: cut short or damaged"):
        convert_export(path, tmp_path / "out")


def test_office_documents_are_no_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<xml/>")
    assert scan_file(tmp_path / "letter.docx").problem == "no image file"


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["zip", "w:gz", "w:bz2", "w:xz"]), where=st.floats(0, 1, exclude_max=True), change=st.data()
)
def test_archive_with_any_bytes_changed_or_lost_never_gives_a_wrong_volume(make_series, tmp_path, kind, where, change):
    series = make_series(shape=(4, 6, 5))
    path = tmp_path / "all"
    if not (tmp_path / "export").exists():
        series.write_all()
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for k in range(4):
                archive.write(series.folder / f"slice{k}", f"{k}")
    else:
        tarred(series, path, kind)
    raw = bytearray(path.read_bytes())
    place = int(where * len(raw))
    how = change.draw(st.sampled_from(["flip", "cut", "zero", "insert"]))
    if how == "flip":
        raw[place] ^= 1 << change.draw(st.integers(0, 7))
    elif how == "cut":
        raw = raw[:place]
    elif how == "zero":
        raw[place : place + 64] = bytes(len(raw[place : place + 64]))
    else:
        raw[place:place] = change.draw(st.binary(min_size=1, max_size=40))
    path.write_bytes(raw)
    truth = np.asarray(series.pixels, float).transpose(2, 1, 0)[::-1, ::-1]
    try:
        [volume] = read_series(path)
    except InputError:
        return
    count = volume.array.shape[2]
    runs = [truth[..., first : first + count] for first in range(5 - count)]
    assert any(np.array_equal(volume.array, run) for run in runs)
    assert count == 4 or any("slices may be missing" in warning for warning in volume.metadata["warnings"])
