import os

import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series
from medtrans.scans.finding import list_files, scan_file


def test_linked_folders_are_followed_once(make_series):
    series = make_series(shape=(3, 4, 4))
    for k in range(3):
        series.write(k, f"real/{k}")
    (series.folder / "link").symlink_to(series.folder / "real")
    (series.folder / "real" / "loop").symlink_to(series.folder)
    assert len(list_files(series.folder)) == 3


def test_link_to_elsewhere_belongs_to_the_export(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4)).write_all()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(series.folder)
    assert len(list_files(tmp_path / "in")) == 3


def test_names_that_are_no_unicode_are_read(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4)).write_all()
    os.rename(os.fsencode(series.folder / "slice1"), os.fsencode(series.folder) + b"/M\xfcller\xff")
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["converted"]


def test_broken_link_is_reported_not_raised(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4)).write_all()
    (series.folder / "gone").symlink_to(tmp_path / "nowhere")
    table = convert_export(series.folder, tmp_path / "out")
    assert table[table.status == "failed"].reason.tolist() == ["cannot be opened (No such file or directory)"]


def test_data_set_behind_stray_bytes_is_called_damaged(make_series):
    series = make_series(shape=(1, 4, 4))
    path = series.write(0)
    path.write_bytes(b" " + path.read_bytes()[132:])
    file = scan_file(path)
    assert file.failed
    assert "damaged DICOM" in file.problem


def test_dicom_directory_is_known_by_its_content(make_series):
    series = make_series(shape=(1, 4, 4))
    dataset = series.dataset(0)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.1.3.10"
    series.folder.mkdir(parents=True)
    dataset.save_as(series.folder / "anything", enforce_file_format=True)
    assert scan_file(series.folder / "anything").problem == "DICOM directory"


@pytest.mark.parametrize("content", [b"7z\xbc\xaf" + bytes(9), b"Rar!" + bytes(9)])
def test_what_could_hold_scans_is_named(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert "first" in scan_file(tmp_path / "x").problem


def test_images_of_no_plane_in_the_patient_are_skipped_or_fail_by_modality(make_series, tmp_path):
    for modality, status in (("CT", "failed"), ("DX", "skipped")):
        series = make_series(shape=(1, 4, 4), SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
        series.folder = tmp_path / modality
        series.write(0, ImagePositionPatient=None, Modality=modality)
        assert list(convert_export(series.folder, tmp_path / "out" / modality).status) == [status]


def test_image_without_series_uid_fails(make_series):
    series = make_series(shape=(1, 4, 4), SeriesInstanceUID=None).write_all()
    with pytest.raises(InputError, match="no SeriesInstanceUID"):
        read_series(series.folder)
