import os

import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series
from medtrans.scans.export.finding import list_files, scan_file


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


NO_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.88.67": "X-Ray Radiation Dose SR Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection Document Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.11.1": "Grayscale Softcopy Presentation State Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.481.3": "RT Structure Set Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.481.5": "RT Plan Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.66": "Raw Data Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.66.1": "Spatial Registration Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF Storage: no pixel data",
    "1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG Waveform Storage: no pixel data",
    "1.3.12.2.1107.5.9.1": "private object: no pixel data",
}


def test_every_object_without_an_image_has_a_row_that_names_it(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4)).write_all()
    for number, sop_class in enumerate(NO_IMAGES):
        uid = {"SeriesInstanceUID": f"1.2.3.{number}"}
        dataset = series.dataset(0, SOPClassUID=sop_class, Rows=None, Columns=None, **uid)
        del dataset.PixelData
        dataset.save_as(series.folder / f"object{number}", enforce_file_format=True)
    table = convert_export(series.folder, tmp_path / "out")
    assert table.files.sum() == 3 + len(NO_IMAGES)
    skipped = table[table.status == "skipped"]
    assert sorted(skipped.reason) == sorted(NO_IMAGES.values())
    assert list(table[table.status == "converted"].files) == [3]
    assert not (table.status == "failed").any()


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture (screenshot or report)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3"}, "secondary capture (screenshot or report)"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.2"}, "spectroscopy: holds spectra, not an image"),
        ({"Modality": "RTDOSE"}, "radiotherapy dose grid: not an image of the scanner"),
        ({"Modality": "SEG"}, "segmentation object: not an image of the scanner"),
        (
            {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "ImagePositionPatient": None},
            "screenshot or report, by its ImageType",
        ),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour picture (PALETTE COLOR): holds no physical values"),
    ],
)
def test_pictures_that_are_no_scan_are_skipped_with_the_reason(make_series, tmp_path, tags, reason):
    series = make_series(shape=(1, 4, 4))
    series.write(0, **({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"} | tags))
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.reason, row.files) == ("skipped", reason, 1)


def test_the_same_file_by_link_and_as_copy_counts_and_is_used_once(make_series, tmp_path, reference_image):
    series = make_series().write_all()
    (series.folder / "link").symlink_to(series.folder / "slice2")
    (series.folder / "more").mkdir()
    (series.folder / "more" / "copy").write_bytes((series.folder / "slice4").read_bytes())
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.files, row.slices) == ("converted", 7, 5)
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())


def test_what_a_killed_run_unpacked_is_no_part_of_the_export(make_series, tmp_path):
    series = make_series().write_all()
    (series.folder / ".medtrans-unpacked-abc").mkdir()
    (series.folder / ".medtrans-unpacked-abc" / "x").write_bytes((series.folder / "slice1").read_bytes())
    assert len(list_files(series.folder)) == 5
