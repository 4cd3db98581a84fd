"""Of archives that are damaged, cut short or locked no wrong volume comes."""

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans import convert_export, read_series


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
