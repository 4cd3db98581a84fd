"""A series read back whole, or no folder at all."""

from io import BytesIO

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


@pytest.fixture
def whole(sent, pacs):
    """Bytes of the stand-in's answer with the whole series."""
    _, study, series = sent
    return len(pacs.find(f"/pacs/studies/{study}/series/{series}")[1])


def test_an_answer_without_a_length_is_taken_where_it_is_whole(sent, whole, pacs, tmp_path):
    pacs.broken_off = whole
    assert len(fetch_series(pacs.url, *sent[1:], tmp_path / "back")) == 5


@pytest.mark.parametrize("share", [0.99, 0.9, 0.61, 0.5, 0.3, 0.1])
def test_an_answer_that_breaks_off_leaves_no_folder(share, sent, whole, pacs, tmp_path):
    """As HTTP/1.0 servers and proxies do: no length, no chunks, the connection is closed."""
    pacs.broken_off = int(whole * share)
    with pytest.raises(InputError, match=r"did not give the series whole|as a DICOMweb service does"):
        fetch_series(pacs.url, *sent[1:], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_pixels_that_are_cut_off_are_told(sent, whole, pacs, tmp_path):
    pacs.broken_off = whole - 40
    with pytest.raises(InputError, match="did not give the series whole: image 5 lacks UIDs or pixels"):
        fetch_series(pacs.url, *sent[1:], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_images_missing_at_the_end_are_told_though_those_that_came_are_whole(sent, pacs, tmp_path):
    _, study, series = sent
    answer = pacs.find(f"/pacs/studies/{study}/series/{series}")[1]
    pacs.broken_off = answer.rindex(b"\r\n--x\r\n")  # after the fourth of five
    with pytest.raises(InputError, match="did not give the series whole: 4 of the 5 images that it lists came"):
        fetch_series(pacs.url, *sent[1:], tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "SOPInstanceUID"])
def test_an_image_without_uids_is_refused(keyword, sent, pacs, tmp_path):
    uid, (study, series, content) = next(iter(pacs.images.items()))
    image = pydicom.dcmread(BytesIO(content))
    del image[keyword]
    stream = BytesIO()
    image.save_as(stream)
    pacs.images[uid] = study, series, stream.getvalue()
    with pytest.raises(InputError, match="image 1 lacks UIDs or pixels"):
        fetch_series(pacs.url, *sent[1:], tmp_path / "back")
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
