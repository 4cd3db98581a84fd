"""What the server keeps to itself: everything outside the studies, and everything but what clients need."""

import json
import re
import time

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
        assert answer.status_code != 200 or "like" in params
        assert str(secret) not in answer.text or "is none of a study" in answer.text


@pytest.mark.parametrize("key", ["overlap", "batch_size"])
@pytest.mark.parametrize("value", ["$__import__('pathlib').Path('ran').touch()", "@output_dir", True, None, [1], {}])
def test_no_code_comes_in_by_the_parameters(server, key, value):
    params = {"params": json.dumps({key: value})}
    answer = server.ask("POST", "/infer/medgan", params={"image": "one"}, data=params)
    assert answer.status_code == 400
    assert key in answer.json()["detail"]


@pytest.mark.parametrize("key", ["device", "max_epochs", "val_split", "pretrained"])
def test_no_code_comes_in_by_the_settings_of_a_training(server, key, tmp_path):
    mark = tmp_path / "ran"
    server.ask("POST", "/train/medgan", json={key: f"$__import__('pathlib').Path('{mark}').touch()"})
    for _ in range(600):
        if (task := server.ask("GET", "/train/").json())["status"] not in ("SUBMITTED", "RUNNING"):
            break
        time.sleep(0.2)
    assert task["status"] == "ERROR"
    assert not mark.exists()


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
        ("PUT", "/model/medgan"), ("DELETE", "/model/medgan"), ("GET", "/logs/"), ("GET", "/proxy/dicom/qido/x"),
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
    with (studies / "one.nii.gz").open("rb") as file:
        server.ask("POST", "/infer/medgan?output=image", files={"file": file})
    server.ask("POST", "/infer/medgan?output=image", files={"file": ("a.nii.gz", b"nothing")})
    for _ in range(50):  # they are removed after the answer is sent
        if not (left := list((server.folder / "work/transit").iterdir())):
            break
        time.sleep(0.1)
    assert not left


@pytest.fixture(scope="module")
def guarded(start, studies, tmp_path_factory):
    """A server that asks for a token, takes 1 MiB, and lets one viewer's pages in."""
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text("a-token-of-this-test-alone\n")
    file.chmod(0o600)
    options = ["--token-file", str(file), "--max-upload", "1", "--allow-origin", "https://viewer.example"]
    return start(studies, *options, headers={"Authorization": "Bearer a-token-of-this-test-alone"})


def test_without_the_token_there_is_nothing(guarded):
    import requests

    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
        for path in ("/", "/info/", "/datastore/", "/openapi.json", "/nothing"):
            assert requests.get(guarded.url + path, headers=headers, timeout=30).status_code == 401
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

    def signed(*roles, by=key, algorithm="RS256"):
        claims = {"preferred_username": "u", "email": "u@x", "name": "U", "realm_access": {"roles": list(roles)}}
        return {"Authorization": f"Bearer {jwt.encode(claims, by, algorithm=algorithm)}"}

    http = ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", signed
    http.shutdown()


def test_monai_labels_own_authentication_tells_roles_apart(start, studies, realm):
    from cryptography.hazmat.primitives.asymmetric import rsa

    url, signed = realm
    environment = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": url}
    server = start(studies, environment=environment)
    assert server.ask("GET", "/info/").status_code == 401
    assert server.ask("GET", "/").status_code == 401
    assert server.ask("GET", "/info/", headers=signed("monailabel-user")).status_code == 200
    assert server.ask("GET", "/info/", headers=signed("somebody")).status_code == 403
    stranger = rsa.generate_private_key(65537, 2048)
    assert server.ask("GET", "/info/", headers=signed("monailabel-user", by=stranger)).status_code == 401
    forged = signed("monailabel-admin", by="secret-of-thirty-two-characters!!", algorithm="HS256")
    assert server.ask("GET", "/info/", headers=forged).status_code == 401
    user = signed("monailabel-user")
    assert server.ask("POST", "/train/medgan", json={}, headers=user).status_code == 403
    assert server.ask("DELETE", "/datastore/image?id=one", headers=user).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_a_network_is_not_served_without_asking_who_is_there(host):
    from medtrans.errors import InputError
    from medtrans.label.server import Serving, check_serving

    with pytest.raises(InputError, match="--token-file"):
        check_serving(Serving(host=host))
    check_serving(Serving(host=host, token="x" * 20))
    check_serving(Serving(host="127.0.0.1"))
