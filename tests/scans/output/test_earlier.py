"""Runs again, runs killed, runs in parallel: the outcome is that of one run."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from medtrans.scans import Conversion, convert_export
from medtrans.scans.output.contents import Contents

KEPT = "kept from an earlier run"


@pytest.fixture
def export(make_series):
    for n in range(3):
        series = make_series(shape=(4, 6, 8), seed=n, SeriesInstanceUID=f"1.2.{n}", SeriesNumber=n, PatientID="Doe")
        for k in range(4):
            series.write(k, f"{n}/{k}")
    nib.save(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), series.folder / "x_T1w.nii")
    return series.folder


def written(out):
    """Every file a user sees -> hash of its bytes; hidden files hold salts and time stamps."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def redone(table):
    return sorted(table[(table.status == "converted") & ~table.reason.str.startswith(KEPT)].path)


def convert(export, out, **options):
    return convert_export(export, out, **options)


def test_nothing_is_done_twice(export, tmp_path):
    assert len(redone(convert(export, tmp_path / "out"))) == 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}
    assert redone(convert(export, tmp_path / "out")) == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.nii.gz")}


def test_moved_renamed_and_touched_files_are_known_by_their_content(export, tmp_path):
    convert(export, tmp_path / "out")
    shutil.copytree(export / "0", export / "elsewhere" / "0", copy_function=shutil.copyfile)
    shutil.rmtree(export / "0")
    for n, path in enumerate(sorted((export / "1").iterdir())):
        path.rename(path.with_name(f"renamed{9 - n}.dcm"))
    for path in (export / "2").iterdir():
        os.utime(path, (1, 1))
    assert redone(convert(export, tmp_path / "out")) == []


def test_a_pixel_that_changed_is_noticed_behind_the_same_size_and_time(export, tmp_path):
    convert(export, tmp_path / "out")
    path = export / "1" / "2"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    [again] = redone(convert(export, tmp_path / "out"))
    assert again.endswith("001-MR.nii.gz")


@pytest.mark.parametrize("harm", ["deleted", "truncated", "edited", "no sidecar", "broken sidecar", "other sidecar"])
def test_a_harmed_volume_is_done_again(export, tmp_path, harm):
    out = tmp_path / "out"
    path = out / convert(export, out).path[1]
    whole = written(out)
    sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
    if harm == "deleted":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif harm == "edited":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif harm == "no sidecar":
        sidecar.unlink()
    else:
        sidecar.write_text("{" if harm.startswith("broken") else json.dumps({"source": 3}))
    assert redone(convert(export, out)) == [path.relative_to(out).as_posix()]
    after = written(out)
    whole.pop("series.csv"), after.pop("series.csv")
    assert after == whole


def test_another_choice_about_values_is_another_conversion(export, tmp_path):
    convert(export, tmp_path / "out")
    again = convert(export, tmp_path / "out", conversion=Conversion(philips_scale="precise"))
    assert len(redone(again)) == 4


def test_a_volume_whose_source_became_refused_is_removed(export, tmp_path):
    out = tmp_path / "out"
    first = convert(export, out)
    (export / "1" / "2").unlink()
    table = convert(export, out)
    [failed] = table[table.status == "failed"].itertuples()
    gone = {*first.path} - {*table.path}
    assert len(gone) == 1
    assert not (out / gone.pop()).exists()
    assert len(list(out.rglob("*.nii.gz"))) == len(list(out.rglob("*.json"))) - 2 == 3  # and two hidden ones
    assert failed.path == ""


def test_the_number_of_workers_changes_nothing(export, tmp_path):
    for workers in (1, 2, 7):
        convert(export, tmp_path / str(workers), workers=workers)
    assert written(tmp_path / "1") == written(tmp_path / "2") == written(tmp_path / "7")


@pytest.fixture
def large_export(make_series):
    """Eight series that take a moment each."""
    for n in range(8):
        pixels = np.random.default_rng(n).integers(0, 4000, (40, 128, 128)).astype(np.uint16)
        series = make_series(pixels, SeriesInstanceUID=f"1.2.{n}", SeriesNumber=n)
        for k in range(40):
            series.write(k, f"{n}/{k}")
    return series.folder


def seen(out, moment):
    """Whether a running conversion has come to ``moment``."""
    if moment == "names":
        return (out / ".pseudonyms.json").exists()
    if moment == "half a volume":
        return any(out.rglob(".partial-*.nii.gz"))
    return sum(1 for _ in out.rglob("[!.]*.nii.gz")) >= int(moment)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(large_export, tmp_path):
    convert(large_export, tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "medtrans.cli", "convert", large_export, out, "--workers", "2"]
    for moment in ("names", "half a volume", "1", "3", "6"):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            limit = time.monotonic() + 60
            while not seen(out, moment) and running.poll() is None and time.monotonic() < limit:
                time.sleep(0.001)
            running.send_signal(signal.SIGKILL)
        assert running.returncode in (-signal.SIGKILL, 0)
        assert seen(out, moment) or moment == "half a volume"
        for path in out.rglob("[!.]*.nii.gz"):
            assert np.isfinite(nib.load(path).get_fdata()).all()  # what has its name is whole
    table = convert(large_export, out)
    assert table.reason.str.startswith(KEPT).any()
    done, whole = written(out), written(tmp_path / "whole")
    done.pop("series.csv"), whole.pop("series.csv")  # which says what was kept
    assert done == whole
    assert not list(out.rglob(".partial-*"))


def test_hashes_are_remembered_for_files_at_rest_only(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    contents = Contents(tmp_path / "known.json")
    assert contents.hash(path) == hashlib.sha256(b"one").hexdigest()
    assert contents.used == {}  # it may change again within one tick of the clock
    path.write_bytes(b"two")
    assert contents.hash(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_at_rest_is_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    monkeypatch.setattr("medtrans.scans.output.contents.SETTLED", -1)
    contents = Contents(tmp_path / "known.json")
    first = contents.hash(path)
    contents.save()
    monkeypatch.setattr("medtrans.scans.output.contents.file_hash", lambda path: pytest.fail("read again"))
    assert Contents(tmp_path / "known.json").hash(path) == first
    assert "x" not in json.loads((tmp_path / "known.json").read_text())


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": null}', "\x00"])
def test_damaged_memory_of_hashes_is_as_none(tmp_path, text):
    (tmp_path / "known.json").write_text(text)
    (tmp_path / "x").write_bytes(b"one")
    assert Contents(tmp_path / "known.json").hash(tmp_path / "x") == hashlib.sha256(b"one").hexdigest()
