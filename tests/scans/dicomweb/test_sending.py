"""Derived series sent to a stand-in that refuses as servers do: the table, the exit codes, what is said."""

import csv
import shutil
import time
from contextlib import nullcontext
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from medtrans.cli import app
from medtrans.errors import CasesFailedError, InputError
from medtrans.scans.deidentify.headers import Deidentifier
from medtrans.scans.deidentify.key import Key
from medtrans.scans.deidentify.profile import Choices
from medtrans.scans.dicomweb import Access, connection, send_series, sending
from medtrans.scans.dicomweb.connection import PASSWORD


def rows_of(folder):
    with (folder / "pushed.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def posts(pacs):
    return [size for method, _, _, size in pacs.requests if method == "POST"]


def test_the_server_has_every_image_byte_for_byte(derived, pacs, headers_of):
    folder = derived(2)
    rows = send_series(folder, pacs.url)
    files = {image.SOPInstanceUID: image.filename for image in headers_of(folder)}
    assert len(files) == 10
    assert {uid: own[2] for uid, own in pacs.images.items()} == {
        uid: Path(path).read_bytes() for uid, path in files.items()
    }
    assert rows == rows_of(folder)
    for row, name in zip(rows, sorted(path.name for path in folder.iterdir() if path.is_dir()), strict=True):
        series = pydicom.dcmread(folder / name / "0001.dcm").SeriesInstanceUID
        assert row == {
            "server": pacs.url, "folder": name, "status": "ok", "reason": "", "modality": "CT", "instances": "5",
            "series": series,
        }  # fmt: skip


def test_run_again_nothing_is_sent(derived, pacs):
    folder = derived(2)
    send_series(folder, pacs.url)
    before = len(posts(pacs))
    assert [row["status"] for row in send_series(folder, pacs.url + "/")] == ["kept"] * 2
    assert len(posts(pacs)) == before
    assert len(rows_of(folder)) == 2


def test_another_server_has_rows_of_its_own(derived, pacs):
    folder = derived()
    send_series(folder, pacs.url)
    pacs.images.clear()
    send_series(folder, pacs.url.replace("127.0.0.1", "localhost"))
    assert [row["status"] for row in rows_of(folder)] == ["ok", "ok"]


def test_only_what_is_missing_is_sent(derived, pacs):
    folder = derived()
    send_series(folder, pacs.url)
    for uid in [*pacs.images][1:3]:
        del pacs.images[uid]
    pacs.seen = 0
    assert [row["status"] for row in send_series(folder, pacs.url)] == ["ok"]
    assert (pacs.seen, len(pacs.images)) == (2, 5)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_requests_are_bounded(images, derived, pacs, monkeypatch):
    folder = derived()
    size = max(path.stat().st_size for path in folder.rglob("*.dcm"))
    monkeypatch.setattr(sending, "REQUEST", images * size)
    send_series(folder, pacs.url)
    assert len(posts(pacs)) == -(-5 // images)
    assert max(posts(pacs)) < images * (size + 200) + 200
    assert len(pacs.images) == 5


def test_requests_that_a_server_calls_too_large_are_halved(derived, pacs):
    folder = derived()
    pacs.largest = 2 * max(path.stat().st_size for path in folder.rglob("*.dcm")) + 1000
    assert [row["status"] for row in send_series(folder, pacs.url)] == ["ok"]
    assert len(pacs.images) == 5


def test_an_image_that_is_too_large_for_the_server_is_told(derived, pacs):
    folder = derived()
    pacs.largest = 100
    with pytest.raises(CasesFailedError, match=r"takes no image of this size \(HTTP 413\). Raise the limit"):
        send_series(folder, pacs.url)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0xC000, r"cannot understand elements of them \(C000\)"),
        (0xA700, r"out of resources \(A700\)"),
        (None, "does not say why"),
    ],
)
@pytest.mark.parametrize("status", [0, 400])  # as the standard has it, and as Orthanc does
def test_images_that_are_refused_are_counted_with_the_reason_and_other_series_go_on(status, code, told, derived, pacs):
    folder = derived(3)
    pacs.reasons, pacs.failing = {7: code, 9: code}, status
    with pytest.raises(CasesFailedError, match=rf"pushed.csv: 1 of 3 series failed, the first: .*2 image.*{told}"):
        send_series(folder, pacs.url)
    rows = rows_of(folder)
    assert [(row["status"], row["instances"]) for row in rows] == [("ok", "5"), ("failed", "3"), ("ok", "5")]
    pacs.reasons = {}
    assert [row["status"] for row in send_series(folder, pacs.url)] == ["kept", "ok", "kept"]
    assert [row["reason"] for row in rows_of(folder)] == [""] * 3


def test_a_series_of_which_nothing_is_stored_is_told_with_the_reason(derived, pacs):
    folder = derived()
    pacs.reasons = dict.fromkeys(range(1, 6), 0x0122)
    with pytest.raises(CasesFailedError, match=r"did not store 5 image.*SOP class\) \(0122\). Allow the SOP class"):
        send_series(folder, pacs.url)
    assert rows_of(folder)[0]["instances"] == "0"


def test_a_server_that_says_yes_and_stores_nothing_is_found_out(derived, pacs, monkeypatch):
    folder = derived()
    pacs.forgetful = True
    monkeypatch.setattr(sending, "INDEXING", (0,))
    with pytest.raises(CasesFailedError, match=r"took 5 image.* and does not list them"):
        send_series(folder, pacs.url)


@pytest.mark.parametrize(("searches", "status"), [(0, "ok"), (2, "ok"), (9, "failed")])
def test_a_server_that_lists_images_a_while_later_is_waited_for(searches, status, derived, pacs, monkeypatch):
    folder = derived()
    pacs.indexing = searches
    monkeypatch.setattr(sending, "INDEXING", (0, 0))
    with nullcontext() if status == "ok" else pytest.raises(CasesFailedError, match="does not list them"):
        send_series(folder, pacs.url)
    assert [row["status"] for row in rows_of(folder)] == [status]
    assert len(pacs.images) == 5


@pytest.mark.parametrize("status", [403, 409, 415, 418, 429, 500, 503, 507, 599])
def test_a_status_without_reasons_fails_the_series(status, derived, pacs):
    folder = derived(2)
    pacs.status, pacs.body, pacs.kind = status, b"<html>Zqvortex</html>", "text/html"
    with pytest.raises(CasesFailedError, match=rf"2 of 2 series failed.*\(HTTP {status}\)") as caught:
        send_series(folder, pacs.url)
    assert "Zqvortex" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_status_of_the_whole_server_ends_the_run(status, derived, pacs):
    folder = derived(2)
    pacs.status = status
    with pytest.raises(InputError, match=rf"{pacs.url}: .*\(HTTP {status}\)") as caught:
        send_series(folder, pacs.url)
    assert not isinstance(caught.value, CasesFailedError)
    assert len(posts(pacs)) == 1
    assert [row["status"] for row in rows_of(folder)] == ["failed"]


def test_redirections_are_not_followed(derived, pacs):
    folder = derived()
    pacs.status, pacs.location = 307, "https://elsewhere.example/studies"
    with pytest.raises(InputError, match="leads to another address, where patient data are not sent"):
        send_series(folder, pacs.url)


def test_nobody_there_is_told(derived, pacs):
    folder = derived()
    pacs.stop()
    with pytest.raises(InputError, match=r"cannot be reached\. Check the address, and that the server runs"):
        send_series(folder, pacs.url)


def test_a_server_that_does_not_answer_is_given_up(derived, pacs, monkeypatch):
    folder = derived()
    monkeypatch.setattr(connection, "ANSWER", 0.2)
    monkeypatch.setattr(pacs, "find", lambda path: time.sleep(1))
    with pytest.raises(InputError, match="did not answer in time"):
        send_series(folder, pacs.url)


def test_a_failure_in_passing_is_tried_again(derived, pacs, monkeypatch):
    folder, answers, real = derived(), iter([503, 200]), pacs.store
    monkeypatch.setattr(pacs, "store", lambda data: real(data) if next(answers) == 200 else (503, b""))
    assert [row["status"] for row in send_series(folder, pacs.url)] == ["ok"]
    assert len(pacs.images) == 5


def test_one_series_can_be_sent_alone(derived, pacs):
    folder = derived(2)
    first = sorted(path for path in folder.iterdir() if path.is_dir())[0]
    assert [row["folder"] for row in send_series(first, pacs.url)] == ["."]
    assert len(pacs.images) == 5
    assert (first / "pushed.csv").is_file()


def test_a_copy_of_an_image_is_sent_once(derived, pacs):
    folder = derived()
    copied = next(folder.rglob("0001.dcm"))
    shutil.copy(copied, copied.with_name("copy.dcm"))
    assert [row["instances"] for row in send_series(folder, pacs.url)] == ["5"]
    assert pacs.seen == 5


def altered(folder, **tags):
    """Change the first image of a folder."""
    path = next(folder.rglob("0001.dcm"))
    image = pydicom.dcmread(path)
    for keyword, value in tags.items():
        setattr(image, keyword, value)
    image.save_as(path)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        {"SeriesDescription": "T1 tra"},
        {"Manufacturer": "ACME"},  # scanners make synthetic contrasts, too
        {"SeriesDescription": None},
    ],
)
def test_what_is_no_derived_series_of_ours_is_refused_before_anything_is_sent(tags, derived, pacs):
    folder = derived(2)
    altered(folder, **tags)
    with pytest.raises(InputError, match="not of a derived series of medtrans: 1 of 10"):
        send_series(folder, pacs.url)
    assert pacs.requests == []


def test_the_scanners_export_is_refused(derived, pacs, tmp_path):
    derived()
    with pytest.raises(InputError, match="not of a derived series of medtrans: 5 of 5"):
        send_series(tmp_path / "export", pacs.url)
    assert pacs.requests == []


def test_damaged_files_are_refused(derived, pacs):
    folder = derived()
    altered(folder, StudyInstanceUID=None)
    with pytest.raises(InputError, match="damaged DICOM files: 1 of 5"):
        send_series(folder, pacs.url)


def test_files_cut_off_are_refused(derived, pacs):
    folder = derived()
    path = next(folder.rglob("0003.dcm"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged DICOM files: 1 of 5"):
        send_series(folder, pacs.url)
    assert pacs.requests == []


def test_files_with_fewer_pixels_than_their_header_describes_are_refused(derived, pacs):
    folder = derived()
    path = next(folder.rglob("0003.dcm"))
    image = pydicom.dcmread(path)
    image.PixelData = image.PixelData[:-10]
    image.save_as(path)
    with pytest.raises(InputError, match="damaged DICOM files: 1 of 5"):
        send_series(folder, pacs.url)
    assert pacs.requests == []


def test_a_series_under_a_pseudonym_is_sent_too(derived, pacs, tmp_path):
    folder = derived(rules=Deidentifier(Key(tmp_path / "key.json"), Choices(frozenset())))
    assert [row["status"] for row in send_series(folder, pacs.url)] == ["ok"]
    assert not [content for *_, content in pacs.images.values() if b"Doe" in content]


def test_images_stored_before_a_server_fails_are_counted(derived, pacs, monkeypatch):
    folder, real = derived(), pacs.store
    monkeypatch.setattr(sending, "REQUEST", 1)
    monkeypatch.setattr(pacs, "store", lambda data: real(data) if len(pacs.images) < 3 else (500, b""))
    with pytest.raises(CasesFailedError, match="HTTP 500"):
        send_series(folder, pacs.url)
    assert [(row["status"], row["instances"]) for row in rows_of(folder)] == [("failed", "3")]


def test_nothing_there_is_told(tmp_path, pacs):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("none")
    with pytest.raises(InputError, match="holds no DICOM images"):
        send_series(tmp_path / "empty", pacs.url)
    with pytest.raises(InputError, match="does not exist"):
        send_series(tmp_path / "absent", pacs.url)


def test_another_table_is_not_overwritten(derived, pacs):
    folder = derived()
    (folder / "pushed.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no table of series sent"):
        send_series(folder, pacs.url)


def test_no_patient_data_in_the_table_nor_in_what_is_said(derived, pacs, caplog):
    caplog.set_level("DEBUG", logger="medtrans")
    folder = derived(2)
    pacs.reasons = {2: 0xC000}
    with pytest.raises(CasesFailedError) as caught:
        send_series(folder, pacs.url)
    study = pydicom.dcmread(next(folder.rglob("*.dcm"))).StudyInstanceUID
    said = (folder / "pushed.csv").read_text() + str(caught.value) + caplog.text
    assert not [secret for secret in ("Doe", "Jane", study) if secret in said]


def test_the_command_line_sends_and_tells(derived, pacs, monkeypatch):
    folder = derived(2)
    monkeypatch.setenv(PASSWORD, "open sesame")
    pacs.authorization = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    words = ["push", str(folder), pacs.url]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, InputError)
    assert "lets nobody in without the right credentials (HTTP 401). Give --user" in str(done.exception)
    done = CliRunner().invoke(app, [*words, "--user", "Aladdin"])
    assert (done.exit_code, "2 series sent, 0 there already" in done.output) == (0, True)
    done = CliRunner().invoke(app, [*words, "--user", "Aladdin"])
    assert "0 series sent, 2 there already" in done.output


def test_exit_codes(derived, pacs, run_medtrans):
    folder = derived()
    pacs.reasons = {1: 0xC000}
    assert run_medtrans("push", folder, pacs.url)[0] == 1
    code, told = run_medtrans("push", folder, pacs.url + "/elsewhere")
    assert (code, "has no DICOMweb service there" in told) == (2, True)


@pytest.mark.parametrize("kind", ["user", "token"])
def test_credentials_are_in_no_log_table_or_error(kind, derived, pacs, run_medtrans, monkeypatch, tmp_path, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv(PASSWORD, "open-sesame")
    (tmp_path / "token").write_text("open-sesame")
    folder = derived()
    pacs.authorization = "Basic of somebody else"
    access = Access(user="Aladdin") if kind == "user" else Access(token_file=tmp_path / "token")
    with pytest.raises(InputError) as caught:
        send_series(folder, pacs.url, access)
    said = caplog.text + str(caught.value) + repr(caught.value) + (folder / "pushed.csv").read_text() + repr(access)
    assert not [secret for secret in ("open-sesame", "QWxhZGRpbj", "Bearer") if secret in said]
