"""A series read back whole, or no folder at all."""

import pydicom
import pytest
from pydicom.uid import generate_uid

from medtrans.errors import InputError
from medtrans.scans.dicomweb import fetch_series, send_series


@pytest.fixture
def sent(derived, pacs):
    """A series on the server: its folder, and its UIDs of study and series."""
    folder = derived()
    (row,) = send_series(folder, pacs.url)
    image = pydicom.dcmread(next(folder.rglob("0001.dcm")))
    return folder / row["folder"], image.StudyInstanceUID, image.SeriesInstanceUID


def test_what_was_sent_comes_back_byte_for_byte(sent, pacs, tmp_path):
    folder, *uids = sent
    files = fetch_series(pacs.url, *uids, tmp_path / "back")
    assert [path.name for path in files] == [f"000{number}.dcm" for number in range(1, 6)]
    assert {path.read_bytes() for path in files} == {path.read_bytes() for path in folder.glob("*.dcm")}


def test_a_series_that_is_not_there_is_told_and_leaves_no_folder(sent, pacs, tmp_path):
    _, study, _ = sent
    with pytest.raises(InputError, match="has no images of this series"):
        fetch_series(pacs.url, study, generate_uid(), tmp_path / "back")
    with pytest.raises(InputError, match="is no UID"):
        fetch_series(pacs.url, study, "../../studies", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_images_of_another_series_are_refused(sent, pacs, tmp_path, monkeypatch):
    _, study, series = sent
    other = generate_uid()
    real = pacs.find
    monkeypatch.setattr(pacs, "find", lambda path: real(path.replace(other, series)))
    with pytest.raises(InputError, match="does not answer as a DICOMweb service does"):
        fetch_series(pacs.url, study, other, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, b""), "lets nobody in"),
        ((500, b""), r"Internal Server Error \(HTTP 500\)"),
        ((200, b"<html>Sign in</html>", "text/html"), "does not answer as a DICOMweb service"),
        ((200, b"--x\r\n\r\nno DICOM\r\n--x--", "multipart/related; boundary=x"), "does not answer as a DICOMweb"),
    ],
)
def test_other_answers_are_told(answer, told, sent, pacs, tmp_path, monkeypatch):
    monkeypatch.setattr(pacs, "find", lambda path: answer)
    with pytest.raises(InputError, match=told):
        fetch_series(pacs.url, *sent[1:], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_that_is_there_is_never_written_over(sent, pacs, tmp_path):
    (tmp_path / "back").mkdir()
    before = len(pacs.requests)
    with pytest.raises(InputError, match="exists already"):
        fetch_series(pacs.url, *sent[1:], tmp_path / "back")
    assert len(pacs.requests) == before
