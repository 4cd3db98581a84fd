"""Archives convert as the folders they hold, within one another, beside their copies, compressed alone."""

import bz2
import gzip
import io
import lzma
import shutil
import zipfile

import nibabel as nib
import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series
from medtrans.scans.export.archives import UNPACKED
from medtrans.scans.export.finding import scan_file

KINDS = ["zip", "tar", "gztar", "bztar", "xztar"]
SAME = ["patient", "study", "series", "files", "slices", "shape", "spacing", "unit", "status", "path", "frame"]


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


def test_office_documents_are_no_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<xml/>")
    assert scan_file(tmp_path / "letter.docx").problem == "no image file"
