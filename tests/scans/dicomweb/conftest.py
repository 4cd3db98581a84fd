"""A stand-in for a PACS that refuses as real ones do, and derived series to send."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import nibabel
import numpy as np
import pydicom
import pytest

from medtrans.scans import convert_export
from medtrans.scans.derived.exporting import Told, export_series
from medtrans.scans.dicomweb import connection

PATH = re.compile(r"^/pacs(/.*?)?(?:\?(.*))?$")


class StandIn:
    """Stores, lists and gives images over HTTP; tests set what it refuses.

    Attributes:
        images: SOPInstanceUID -> (study, series, bytes).
        authorization: the header without which nobody is let in.
        status: of every answer to a store request that is not 200, and ``body`` with ``kind`` its content.
        largest: bytes of a store request.
        reasons: number of the image in the order of arrival -> Failure Reason.
        failing: status of the answer that some failed, instead of 202 or 409.
        forgetful: says that it stored, and stores nothing.
        indexing: searches that find nothing of what was stored.
        page: rows of a search at most; ``endless`` ignores the offset.
        broken_off: bytes after which the connection is closed while a series is given, without a length beforehand.
    """

    def __init__(self):
        self.images, self.requests = {}, []
        self.authorization = self.kind = ""
        self.status, self.body, self.largest, self.page, self.seen = 200, b"", 1 << 40, 1 << 40, 0
        self.reasons, self.forgetful, self.endless, self.location, self.indexing = {}, False, False, "", 0
        self.failing, self.broken_off = 0, None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/pacs"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def _handler(self):
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words):
                pass

            def answer(self, status, content=b"", kind="application/dicom+json"):
                cut = pacs.broken_off is not None and kind.startswith("multipart")
                self.send_response(status)
                if pacs.location:
                    self.send_header("Location", pacs.location)
                self.send_header("Content-Type", kind)
                if not cut:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: pacs.broken_off] if cut else content)

            def do_GET(self):
                pacs.requests.append(("GET", self.path, dict(self.headers), 0))
                if pacs.authorization and self.headers.get("Authorization") != pacs.authorization:
                    return self.answer(401)
                return self.answer(*pacs.find(self.path))

            def do_POST(self):
                size = int(self.headers.get("Content-Length", 0))
                data = self.rfile.read(size)
                pacs.requests.append(("POST", self.path, dict(self.headers), size))
                if pacs.authorization and self.headers.get("Authorization") != pacs.authorization:
                    return self.answer(401)
                if not self.path.endswith("/pacs/studies"):
                    return self.answer(404)
                if size > pacs.largest:
                    return self.answer(413)
                if pacs.status != 200:
                    return self.answer(pacs.status, pacs.body, pacs.kind or "application/dicom+json")
                return self.answer(*pacs.store(data))

        return Handler

    def find(self, path):
        found = PATH.match(path)
        if not found:
            return 404, b""
        where, query = found[1] or "", dict(part.split("=") for part in (found[2] or "").split("&") if part)
        if series := re.fullmatch("/studies/(.+)/series/(.+)/instances", where):
            rows = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid, own in self.images.items()
                    if own[:2] == series.groups()]  # fmt: skip
        elif series := re.fullmatch("/studies/(.+)/series/([0-9.]+)", where):
            found = [own[2] for own in self.images.values() if own[:2] == series.groups()]
            parts = b"".join(b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + part for part in found)
            kind = 'multipart/related; type="application/dicom"; boundary=x'
            return (200, parts.removeprefix(b"\r\n") + b"\r\n--x--", kind) if found else (404, b"")
        elif where == "/series":
            uids = sorted({own[1] for own in self.images.values()})
            rows = [{"0020000E": {"vr": "UI", "Value": [uid]}} for uid in uids]
        else:
            return 404, b""
        if self.images and self.indexing:
            self.indexing, rows = self.indexing - 1, []
        start = 0 if self.endless else int(query.get("offset", 0))
        return 200, json.dumps(rows[start : start + min(self.page, int(query.get("limit", self.page)))]).encode()

    def store(self, data):
        stored, failed = [], []
        for part in data.split(b"\r\n--")[1:-1]:
            content = part.split(b"\r\n\r\n", 1)[1]
            image = pydicom.dcmread(BytesIO(content))
            item = {"00081155": {"vr": "UI", "Value": [image.SOPInstanceUID]}}
            self.seen += 1
            if self.seen in self.reasons:
                code = self.reasons[self.seen]
                failed.append(item | ({"00081197": {"vr": "US", "Value": [code]}} if code is not None else {}))
                continue
            if not self.forgetful:
                own = (image.StudyInstanceUID, image.SeriesInstanceUID, content)
                self.images[str(image.SOPInstanceUID)] = own
                stored.append(item)
        answer = {"00081199": {"vr": "SQ", "Value": stored}} if stored else {}
        answer |= {"00081198": {"vr": "SQ", "Value": failed}} if failed else {}
        return (200 if not failed else self.failing or (202 if stored else 409)), json.dumps(answer).encode()


@pytest.fixture
def pacs(monkeypatch):
    """A :class:`StandIn`; a failing request is tried again without a pause."""
    monkeypatch.setattr(connection, "PAUSE", 1)
    server = StandIn()
    yield server
    server.stop()


@pytest.fixture
def derived(make_series, tmp_path):
    """``derived(count=1, **options)``: the folder of so many derived series, each of a patient of its own.

    The scans lie in ``tmp_path/export``, their values as NIfTI (times ``gain``) in ``tmp_path/nifti``.
    """

    def make(count=1, modality="CT", unit="HU", enhanced=False, gain=1, rules=None, **options):
        for number in range(count):
            whose = {"PatientID": f"Doe-{number}", "StudyDate": "20240102", "SeriesNumber": number + 7}
            series = make_series(seed=number, **whose, **options)
            series.folder, series.series = series.folder / f"patient{number}", f"1.2.3.{number}"
            if enhanced:
                series.write_enhanced([(k, series.pixels[k], None, {}) for k in range(len(series.pixels))])
            else:
                series.write_all()
        table = convert_export(tmp_path / "export", tmp_path / "nifti", workers=1)
        volumes = [tmp_path / "nifti" / path for path in table["path"]]
        for path in volumes if gain != 1 else ():
            image = nibabel.load(path)
            nibabel.save(nibabel.Nifti1Image((image.get_fdata() * gain).astype(np.float32), image.affine), path)
        told = Told(modality, unit, "Copy")
        rows = export_series(volumes, tmp_path / "dicom", tmp_path / "export", told, rules=rules)
        assert [row["status"] for row in rows] == ["ok"] * count
        return tmp_path / "dicom"

    return make


@pytest.fixture
def headers_of():
    """``headers_of(folder)``: every DICOM file below, read."""
    return lambda folder: [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
