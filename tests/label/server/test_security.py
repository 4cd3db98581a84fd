"""What the server keeps to itself: everything outside the studies, and everything but what clients need."""

import json
import re
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["/etc/passwd", "../one", "ward/../../one", "..", ".lock", "a\\b", "C:/x", "\x00", ""])
@pytest.mark.parametrize(
    "path", ["/infer/medgan?image=", "/datastore/image?image=", "/datastore/label?tag=final&label="]
)
def test_no_name_leads_out_of_the_studies(server, path, name):
    from urllib.parse import quote

    method = "POST" if path.startswith("/infer") else "GET"
    answer = server.ask(method, path + quote(name, safe=""))
    assert answer.status_code in (400, 404, 422, 500 if not name else 400), answer.text
    assert "root:" not in answer.text


def test_no_path_comes_in_by_the_parameters(server, tiny_bundles):
    secret = tiny_bundles / "heads/head-0000/T1.nii"  # on this machine, but not among the studies
    for params in ({"image": str(secret)}, {"channels": [str(secret)]}, {"like": str(secret)}):
        answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data={"params": json.dumps(params)})
        assert answer.status_code != 200 or {"like", "image"} & set(params)  # which are passed over
        assert str(secret) not in answer.text or "is none of a study" in answer.text


@pytest.mark.parametrize("key", ["overlap", "batch_size"])
@pytest.mark.parametrize("value", ["$__import__('pathlib').Path('ran').touch()", "@output_dir", True, None, [1], {}])
def test_no_code_comes_in_by_the_parameters(server, key, value):
    params = {"params": json.dumps({key: value})}
    answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data=params)
    assert answer.status_code == 400
    assert key in answer.json()["detail"]


@pytest.mark.parametrize("key", ["device", "max_epochs", "val_split", "pretrained"])
@pytest.mark.parametrize("value", ["$__import__('os')._exit(1)", "@output_dir", 5.5, [1]])
def test_no_code_comes_in_by_the_settings_of_a_training(server, key, value):
    answer = server.ask("POST", "/train/medgan", json={key: value})
    assert answer.status_code == 400
    assert key in answer.json()["detail"]


@pytest.mark.parametrize("params", [{"images": ["x"]}, {"bundle_path": "/tmp"}, {"label_tag": "final"}])
def test_a_batch_takes_no_places_and_no_tags(server, params):
    answer = server.ask("POST", "/batch/infer/nothing", json=params)
    assert answer.status_code == 400
    refused = server.ask("POST", "/batch/infer/medgan", json={"overlap": "$1"})
    assert refused.status_code == 400


@pytest.mark.parametrize("tag", ["../../../escaped", "/tmp/escaped", ".."])
def test_no_tag_leads_out_of_the_studies(server, studies, tag):
    answer = server.ask(
        "PUT", "/datastore/label", params={"image": "one", "tag": tag}, files={"label": ("a.nii.gz", b"x")}
    )
    assert answer.status_code == 400
    assert not list(studies.parent.rglob("escaped"))


@pytest.mark.parametrize("image", ["../escaped", "/tmp/escaped", "a/../../escaped"])
def test_nothing_is_written_outside_the_studies(server, studies, image):
    answer = server.ask("PUT", "/datastore/image", params={"image": image}, files={"file": ("a.nii.gz", b"x")})
    assert answer.status_code == 400
    assert not list(studies.parent.rglob("escaped*"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/datastore/dataset"), ("PUT", "/model/medgan"), ("DELETE", "/model/medgan"), ("GET", "/logs/"),
        ("GET", "/proxy/dicom/qido/x"),
        ("PUT", "/session/"), ("POST", "/infer/wsi/medgan"), ("POST", "/reload"), ("GET", "/docs"), ("GET", "/ohif/x"),
        ("POST", "/train/"),
    ],
)  # fmt: skip
def test_endpoints_that_translation_does_not_need_are_not_there(server, method, path):
    assert server.ask(method, path).status_code in (404, 405)


def test_pages_of_other_origins_get_nothing(server):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = server.ask("GET", "/info/", headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert server.ask("GET", "/info/", headers={"Origin": server.url}).status_code == 200


def test_other_names_of_this_machine_are_refused(server):
    assert server.ask("GET", "/info/", headers={"Host": "rebound.example"}).status_code == 400


def test_training_takes_no_setting_that_is_not_a_clients(server):
    answer = server.ask("POST", "/train/medgan", json={"bundle_path": "/tmp"})
    assert answer.status_code == 400
    assert "bundle_path" in answer.json()["detail"]


def test_its_own_page_loads_nothing_from_elsewhere(server):
    page = server.ask("GET", "/").text
    assert "cyclegan_to_source" in page
    assert not re.search(r"(src|href)=\"https?://", page)


def test_the_log_names_no_study(server):
    server.ask("POST", "/infer/medgan", params={"image": "ward/three"})
    assert "ward/three" not in server.log.read_text()
    assert "three.nii" not in server.log.read_text()


def test_nothing_of_a_request_stays(server, studies):
    volume = (studies / "one.nii.gz").read_bytes()
    good, bad = ("Hans.nii.gz", volume), ("Hans.nii.gz", b"nothing")
    for path, files, params in (
        ("/infer/medgan?output=image", {"file": good}, "{}"),
        ("/infer/medgan?output=all", {"file": good}, "{}"),
        ("/infer/medgan?output=json", {"file": good}, "{}"),
        ("/infer/medgan?output=dicom_seg", {"file": good}, "{}"),
        ("/infer/medgan", {"file": good}, "{"),
        ("/infer/medgan", {"file": good}, '{"save_label": true}'),
        ("/infer/medgan", {"file": bad}, "{}"),
        ("/infer/medgan", {"file": good, "label": good}, "{}"),
        ("/infer/nothing?session_id=x", {"file": good}, "{}"),
    ):
        server.ask("POST", path, files=files, data={"params": params})
    server.ask("PUT", "/datastore/image?image=new", files={"file": good}, data={"params": "{"})
    server.ask("PUT", "/datastore/label?image=nobody&tag=final", files={"label": good})
    for _ in range(50):  # they are removed after the answer is sent
        if not (left := list((server.folder / "work/transit").iterdir())):
            break
        time.sleep(0.1)
    assert not left


def test_a_client_cannot_put_a_synthetic_volume_in_the_place_of_a_real_target(server, studies):
    asked = {"params": '{"save_label": true, "label_tag": "final"}'}
    assert server.ask("POST", "/infer/medgan", params={"image": "one"}, data=asked).status_code == 200
    assert not (studies / "labels/final/one.nii.gz").exists()
    assert (studies / "labels/original/one.nii.gz").is_file()


@pytest.fixture(scope="module")
def guarded(start, studies, tmp_path_factory):
    """A server that asks for a token, speaks https, takes 1 MiB, and lets one viewer's pages in."""
    folder = tmp_path_factory.mktemp("secret")
    file = folder / "token"
    certificate, key = _self_signed(folder)
    file.write_text("a-token-of-this-test-alone\n")
    file.chmod(0o600)
    options = ["--token-file", str(file), "--max-upload", "1", "--allow-origin", "https://viewer.example"]
    options += ["--certificate", certificate, "--certificate-key", key]
    return start(studies, *options, headers={"Authorization": "Bearer a-token-of-this-test-alone"}, ca=certificate)


def _self_signed(folder):
    """Files of a certificate for this machine, and of its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "k.pem").write_bytes(key.private_bytes(*form))
    return str(folder / "c.pem"), str(folder / "k.pem")


def test_without_the_token_there_is_nothing(guarded):
    import requests

    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        for path in ("/", "/info/", "/datastore/", "/openapi.json", "/nothing"):
            assert requests.get(guarded.url + path, headers=headers, timeout=30, verify=guarded.ca).status_code == 401
    assert guarded.url.startswith("https:")
    assert guarded.ask("GET", "/info/").status_code == 200
    assert "a-token" not in guarded.log.read_text()


def test_larger_uploads_are_refused(guarded):
    volume = bytes(2 * 2**20)
    answer = guarded.ask("POST", "/infer/medgan", files={"file": ("a.nii.gz", volume)})
    assert answer.status_code == 413
    assert "--max-upload" in answer.json()["detail"]

    def pieces():  # without a length that is announced
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii.gz"\r\n\r\n'
        for _ in range(40):
            yield bytes(2**16)
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert guarded.ask("POST", "/infer/medgan", data=pieces(), headers=kind).status_code == 413
    assert not list((guarded.folder / "work/transit").iterdir())


def test_a_viewer_that_is_named_may_ask(guarded):
    origin = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "POST"}
    before = guarded.ask("OPTIONS", "/infer/medgan", headers=origin)
    assert before.headers["access-control-allow-origin"] == "https://viewer.example"
    assert guarded.ask("GET", "/info/", headers={"Origin": "https://evil.example"}).status_code == 403


@pytest.fixture(scope="module")
def realm():
    """Somebody who signs tokens, as Keycloak does: a public key on loopback, and a function that signs."""
    import base64
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    class Realm(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"public_key": base64.b64encode(der).decode()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def signed(*roles, by=key, algorithm="RS256", **changed):
        claims = {"preferred_username": "u", "email": "u@x", "name": "U", "realm_access": {"roles": list(roles)}}
        claims |= {"iss": url, "azp": "monailabel-app", "exp": time.time() + 600} | changed
        claims = {key: value for key, value in claims.items() if value is not None}
        return {"Authorization": f"Bearer {jwt.encode(claims, by, algorithm=algorithm)}"}

    http = ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield url, signed
    http.shutdown()


def test_monai_labels_own_authentication_tells_roles_apart(start, studies, realm):
    from cryptography.hazmat.primitives.asymmetric import rsa

    url, signed = realm
    environment = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": url}
    server = start(studies, environment=environment)
    assert server.ask("GET", "/info/").status_code == 401
    assert server.ask("GET", "/").status_code == 401
    assert server.ask("GET", "/openapi.json").status_code == 401
    for changed in ({"iss": "http://elsewhere"}, {"azp": "other"}, {"exp": time.time() - 60}, {"exp": None}):
        assert server.ask("GET", "/info/", headers=signed("monailabel-user", **changed)).status_code == 401
    assert server.ask("GET", "/info/", headers=signed(realm_access=None)).status_code == 403
    assert server.ask("GET", "/info/", headers=signed("monailabel-user")).status_code == 200
    assert server.ask("GET", "/info/", headers=signed("somebody")).status_code == 403
    stranger = rsa.generate_private_key(65537, 2048)
    assert server.ask("GET", "/info/", headers=signed("monailabel-user", by=stranger)).status_code == 401
    forged = signed("monailabel-admin", by="secret-of-thirty-two-characters!!", algorithm="HS256")
    assert server.ask("GET", "/info/", headers=forged).status_code == 401
    user = signed("monailabel-user")
    assert server.ask("POST", "/train/medgan", json={}, headers=user).status_code == 403
    saving = {"params": '{"save_label": true}'}
    assert server.ask("POST", "/infer/medgan?image=one", data=saving, headers=user).status_code == 403
    assert server.ask("POST", "/infer/medgan?image=one", headers=user).status_code == 200
    assert server.ask("DELETE", "/datastore/image?id=one", headers=user).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_a_network_is_not_served_without_asking_who_is_there(host):
    from medtrans.errors import InputError
    from medtrans.label.server import Serving, check_serving

    with pytest.raises(InputError, match="--token-file"):
        check_serving(Serving(host=host))
    check_serving(Serving(host=host, token="x" * 20))
    check_serving(Serving(host="127.0.0.1"))


def test_a_token_and_a_log_in_are_not_asked_for_together(monkeypatch):
    from medtrans.errors import InputError
    from medtrans.label.server import Serving, check_serving

    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    with pytest.raises(InputError, match="Use one of them"):
        check_serving(Serving(token="x" * 20))


def test_a_port_or_a_folder_that_is_in_use_is_told_at_once(server, studies, tmp_path):
    import subprocess
    import sys

    words = [sys.executable, "-m", "medtrans.cli", "label", str(studies), "--bundles", "bundles/medgan"]
    port = server.url.rpartition(":")[2]
    for options, told in ((["--port", port], "listened on"), (["--port", "0"], "is used by another server")):
        work = tmp_path if "listened" in told else server.folder / "work"
        done = subprocess.run(
            [*words, *options, "--work", str(work)], cwd=server.started_in, capture_output=True, text=True
        )
        assert done.returncode not in (0, None)
        assert told in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_server_ends_at_once_and_its_trainings_with_it(start, tiny_bundles, tmp_path):
    import os
    import shutil
    import signal

    for name, modality in (("", "T1"), ("labels/final", "T2")):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            shutil.copy(tiny_bundles / f"heads/head-000{number}/{modality}.nii", tmp_path / name / f"head{number}.nii")
    server = start(tmp_path)
    for _ in range(2):  # one runs, one waits
        asked = {"max_epochs": 100000, "device": "cpu"}
        assert server.ask("POST", "/train/medgan?enqueue=true", json=asked).status_code == 200
    while server.ask("GET", "/train/?check_if_running=true").status_code == 404:
        time.sleep(0.2)
    os.kill(server.process.pid, signal.SIGTERM)
    server.process.wait(20)
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if _of_work(path, server.folder)]
    assert not left


def _of_work(environ, folder):
    """Whether a process was started for a server's folder."""
    try:
        return str(folder).encode() in environ.read_bytes()
    except OSError:
        return False
