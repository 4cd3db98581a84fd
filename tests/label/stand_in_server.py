"""A stand-in MONAI Label server on loopback, which keeps what it was asked and answers what a test says."""

import contextlib
import json
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace


def parsed_form(content_type, body):
    """Return {name: (file name, bytes)} of ``multipart/form-data``, read by Python's own e-mail parser."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    assert message.get_content_type() == "multipart/form-data"
    assert not message.defects
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    }


def multipart_answer(params, image, filename="result.nii.gz"):
    """Return status, content type and body of a MONAI Label answer with ``output=all``."""
    body = (
        b'--frontier\r\nContent-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n'
        + json.dumps(params).encode()
        + b'\r\n--frontier\r\nContent-Disposition: form-data; name="image"; filename="'
        + filename.encode()
        + b'"\r\nContent-Type: application/octet-stream\r\n\r\n'
        + image
        + b"\r\n--frontier--\r\n"
    )
    return 200, "multipart/form-data; boundary=frontier", body


class StandIn:
    """A server on loopback: ``replies[(method, path)]`` is (status, content type, body), or JSON data, or a function of
    the request that returns either; ``requests`` are what came in, with ``form`` where it was multipart.
    """

    def __init__(self):
        self.replies, self.requests = {}, []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, method, path):
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def _answer(self, request):
        self.requests.append(request)
        path, _, request.query = request.path.partition("?")
        request.path = path
        reply = self.replies.get((request.method, path), (404, "application/json", b'{"detail": "Not Found"}'))
        reply = reply(request) if callable(reply) else reply
        return reply if isinstance(reply, tuple) else (200, "application/json", json.dumps(reply).encode())

    def _handler(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = SimpleNamespace(method=self.command, path=self.path, headers=self.headers, body=body)
                if "multipart" in self.headers.get("Content-Type", ""):
                    request.form = parsed_form(self.headers["Content-Type"], body)
                status, kind, content = stand_in._answer(request)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere/")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a client that no longer waits
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *args):
                pass

        return Handler
