import shutil

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import ComprehensiveSRStorage, generate_uid
from typer.testing import CliRunner

from medtrans import InputError
from medtrans.cli import app
from medtrans.scans import convert_export, read_series


@pytest.fixture
def disc(make_series, tmp_path):
    """A disc as pydicom writes it: DICOMDIR and five images."""
    series = make_series(StudyID="1", StudyDate="20200101", StudyTime="120000", AccessionNumber="1").write_all()
    files = FileSet()
    for path in series.folder.iterdir():
        files.add(path)
    folder = tmp_path / "disc"
    files.write(folder)
    return folder


def images(disc):
    return [path for path in disc.rglob("*") if path.is_file() and path.name != "DICOMDIR"]


def rows(disc, out):
    return {row.files: row for row in convert_export(disc, out).itertuples()}


def test_directory_of_a_whole_disc_is_left_out_without_a_fault(disc, tmp_path):
    found = rows(disc, tmp_path / "out")
    assert (found[5].status, found[1].status, found[1].reason) == ("converted", "skipped", "DICOM directory")


def test_directory_alone_says_that_its_images_are_missing(disc, tmp_path):
    for path in images(disc):
        path.unlink()
    with pytest.raises(InputError, match="5 of the 5 images that it lists are missing"):
        read_series(disc)
    assert CliRunner().invoke(app, ["convert", str(disc), str(tmp_path / "out")]).exit_code == 1
    assert "5 of the 5 images that it lists are missing" in (tmp_path / "out" / "series.csv").read_text()


def test_images_missing_at_the_end_of_a_stack_are_told_by_the_directory(disc, tmp_path):
    last = max(images(disc), key=lambda path: dcmread(path).InstanceNumber)
    last.unlink()
    found = rows(disc, tmp_path / "out")
    assert (found[4].status, found[1].status) == ("converted", "failed")
    assert found[1].reason.startswith("DICOM directory: 1 of the 5 images")


def test_images_that_were_renamed_are_known_by_their_uid(disc, tmp_path):
    for n, path in enumerate(images(disc)):
        shutil.move(path, disc / f"elsewhere-{n}.dcm")
    assert rows(disc, tmp_path / "out")[1].status == "skipped"


def test_images_with_new_uids_are_known_by_their_place(disc, tmp_path):
    for path in images(disc):
        dataset = dcmread(path)
        dataset.SOPInstanceUID = generate_uid()
        dataset.save_as(path)
    for path in images(disc):
        path.rename(path.with_name(path.name.lower()))
    assert rows(disc, tmp_path / "out")[1].status == "skipped"
    zipped = shutil.make_archive(str(tmp_path / "disc"), "zip", disc)
    assert rows(zipped, tmp_path / "zipped")[1].status == "skipped"


def test_reports_that_a_directory_lists_are_no_missing_images(disc, tmp_path):
    directory = dcmread(disc / "DICOMDIR")
    record = directory.DirectoryRecordSequence[-1]
    record.DirectoryRecordType, record.ReferencedSOPClassUIDInFile = "SR DOCUMENT", ComprehensiveSRStorage
    name = disc.joinpath(*record.ReferencedFileID)
    directory.save_as(disc / "DICOMDIR")
    name.unlink()
    assert rows(disc, tmp_path / "out")[1].status == "skipped"
