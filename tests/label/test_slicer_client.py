"""What the Slicer module's client sends to a MONAI Label server, and how it takes the answers; no Slicer here."""

import importlib.util
import json
import os
import socket
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

HERE = Path(__file__).parent
NASTY = bytes(range(256)) * 40 + b"\r\n--frontier\r\n\r\n--\r\n\n\r"  # as compressed volumes may look


def _loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


module = _loaded(HERE.parents[1] / "medtrans" / "label" / "slicer" / "MedTransTranslate.py")
server = _loaded(HERE / "stand_in_server.py")


@pytest.fixture
def stand_in():
    running = server.StandIn()
    yield running
    running.close()


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "Doe^Jane"
    folder.mkdir()
    path = folder / "Doe Jane T1.nii.gz"
    path.write_bytes(NASTY)
    return str(path)


def _one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def test_only_translations_are_listed(stand_in):
    stand_in.replies["GET", "/info/"] = {
        "models": {
            "medgan": {
                "type": "others",
                "description": "T1 to T2",
                "config": {"overlap": 0.25, "batch_size": 4, "device": ["cpu"], "flip": True, "result_dtype": None},
                "source": "T1",
                "target": "T2",
                "unit": "",
            },
            "ct": {"type": "others", "source": "MR", "target": "CT", "unit": "HU"},
            "spleen": {"type": "segmentation", "labels": {"spleen": 1}},
        }
    }
    models = module.models_of(module.Client(stand_in.address).info())
    assert [model.title for model in models] == ["MR → CT (HU), ct", "T1 → T2, medgan"]
    assert models[1].options == {"overlap": 0.25, "batch_size": 4}


def test_each_target_of_a_model_is_a_translation_of_its_own(stand_in):
    both = {"source": "T1, T2", "sources": ["T1", "T2"], "target": "CT, PET", "targets": ["CT", "PET"], "unit": "HU"}
    stand_in.replies["GET", "/info/"] = {"models": {"two": both}}
    models = module.models_of(module.Client(stand_in.address).info())
    assert [(model.target, model.unit, model.volumes, model.one_of_several) for model in models] == [
        ("CT", "", 2, True),
        ("PET", "", 2, True),
    ]


def test_translate_sends_the_volume_as_it_is_and_keeps_the_answer_as_it_is(stand_in, volume, tmp_path):
    back = NASTY[::-1]
    stand_in.replies["POST", "/infer/cyclegan%2FT1%20T2"] = server.multipart_answer({"unit": "HU"}, back)
    client = module.Client(stand_in.address + "/", "secret.token")
    answer = client.translate("cyclegan/T1 T2", volume, str(tmp_path), {"overlap": 0.5})
    (request,) = stand_in.requests
    assert request.query == "output=all"
    assert request.form["file"] == ("volume.nii.gz", NASTY)
    asked = {"overlap": 0.5, "result_extension": ".nii.gz", "result_dtype": "float32"}
    assert json.loads(request.form["params"][1]) == asked
    assert request.headers["Authorization"] == "Bearer secret.token"
    assert request.headers["Connection"] == "close"
    assert int(request.headers["Content-Length"]) == len(request.body)
    assert Path(answer.path).read_bytes() == back
    assert Path(answer.path).name == "synthetic.nii.gz"
    assert answer.params == {"unit": "HU"}


def test_neither_name_nor_place_of_a_volume_leaves_the_computer(stand_in, volume, tmp_path):
    stand_in.replies["POST", "/infer/m"] = server.multipart_answer({}, b"x")
    stand_in.replies["PUT", "/datastore/image"] = {"image": "case1"}
    stand_in.replies["PUT", "/datastore/label"] = {"label": "case1"}
    client = module.Client(stand_in.address)
    client.translate("m", volume, str(tmp_path))
    client.add_image("case1", volume)
    client.add_target("case1", volume)
    assert len(stand_in.requests) == 3
    for request in stand_in.requests:
        everything = request.path + request.query + str(request.headers) + repr(request.body)
        assert "Doe" not in everything
        assert str(tmp_path) not in everything


@given(content=st.binary(max_size=400), block=st.integers(1, 64))
@example(content=NASTY, block=7)
@example(content=b"", block=3)
@example(content=b"\r\n--", block=1)
def test_any_bytes_survive_the_form_and_the_answer(tmp_path_factory, content, block):
    folder = tmp_path_factory.mktemp("bytes")
    path = folder / "volume.nii.gz"
    path.write_bytes(content)
    form = module._Form({"params": '{"a": 1}'}, "file", str(path), threading.Event())
    body = b"".join(iter(lambda: form.read(block), b""))
    assert len(body) == form.length
    fields = server.parsed_form(form.content_type, body)
    assert fields == {"params": (None, b'{"a": 1}'), "file": ("volume.nii.gz", content)}
    # the answer of a server is of the same form
    parts = module._parts_of(body, b"--" + form.content_type.split("boundary=")[1].encode())
    assert [bytes(part) for _, part in parts] == [b'{"a": 1}', content]


@pytest.mark.parametrize("name", ["../../../evil.nii.gz", "/etc/passwd", "C:\\x.nrrd", "a.py", ""])
def test_the_server_does_not_choose_where_the_answer_goes(stand_in, volume, tmp_path, name):
    stand_in.replies["POST", "/infer/m"] = server.multipart_answer({}, b"voxels", name)
    folder = tmp_path / "answers"
    folder.mkdir()
    answer = module.Client(stand_in.address).translate("m", volume, str(folder))
    assert [path.name for path in folder.iterdir()] == [Path(answer.path).name]
    assert Path(answer.path).name in ("synthetic.nii.gz", "synthetic.nrrd")
    assert (folder / Path(answer.path).name).read_bytes() == b"voxels"


def test_pairs_and_training_use_the_endpoints_of_monai_label(stand_in, volume):
    task = {"id": "1", "status": "RUNNING", "details": ["epoch 1"]}
    stand_in.replies["PUT", "/datastore/image"] = {"image": "case-1"}
    stand_in.replies["PUT", "/datastore/label"] = {"image": "case-1", "label": "case-1"}
    stand_in.replies["POST", "/train/medgan"] = task
    stand_in.replies["DELETE", "/train/"] = {**task, "status": "STOPPED"}
    client = module.Client(stand_in.address, "t")
    client.add_image("case-1", volume, subject="p7")
    client.add_target("case-1", volume)
    stand_in.replies["DELETE", "/datastore/image"] = {}
    client.remove_image("case-1")
    assert client.train("medgan", max_epochs=3, pretrained=False) == task
    assert client.stop()["status"] == "STOPPED"
    image, label, removed, train, _ = stand_in.requests
    assert (removed.method, removed.query) == ("DELETE", "id=case-1")
    assert json.loads(image.form["params"][1]) == {"subject": "p7"}
    assert (image.query, image.form["file"]) == ("image=case-1", ("volume.nii.gz", NASTY))
    assert (label.query, label.form["label"]) == ("image=case-1&tag=final", ("volume.nii.gz", NASTY))
    assert json.loads(train.body) == {"max_epochs": 3, "pretrained": False}
    assert train.headers["Content-Type"] == "application/json"
    assert {request.headers["Authorization"] for request in stand_in.requests} == {"Bearer t"}


def test_status_is_that_of_the_running_training_else_of_the_last_else_none(stand_in):
    running, last = {"status": "RUNNING"}, {"status": "DONE"}
    client = module.Client(stand_in.address)
    assert client.training_status() == {}
    nothing = (404, "application/json", b'{"detail": "No Train Tasks are currently Running"}')
    stand_in.replies["GET", "/train/"] = lambda request: nothing if request.query else last
    assert client.training_status() == last
    stand_in.replies["GET", "/train/"] = lambda request: running if request.query else last
    assert client.training_status() == running
    stand_in.replies["DELETE", "/train/"] = (200, "application/json", b"null")  # MONAI Label, where none runs
    assert client.stop() == {}


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (500, "application/json", b'{"detail": "model is\\n  missing"}', "HTTP 500): model is missing"),
        (422, "application/json", b'{"detail": [{"loc": ["x"], "msg": "field required"}]}', "field required"),
        (500, "text/plain", b"Internal Server Error", "internal error, the server's log"),
        (502, "text/html", b"<html><body>nginx</body></html>", "HTTP 502): Bad Gateway"),
        (429, "application/json", b'{"detail": "Train Task is Already Running"}', "Already Running"),
        (401, "application/json", b'{"detail": "Not authenticated"}', "Not authenticated): enter a valid token"),
        (403, "application/json", b'{"detail": "Not enough permissions"}', "enter a valid token"),
        (413, "text/plain", b"", "HTTP 413"),
        (500, "text/plain", b"\xff\xfe" * 5000, "HTTP 500"),
        (500, "application/json", b"[1, 2]", "HTTP 500): 1; 2"),
    ],
)
def test_refusals_are_one_clear_line(stand_in, volume, tmp_path, status, kind, body, said):
    stand_in.replies["POST", "/infer/m"] = (status, kind, body)
    with pytest.raises(module.ServerError) as error:
        module.Client(stand_in.address).translate("m", volume, str(tmp_path))
    assert said in _one_line(error)
    assert len(_one_line(error)) < 400


def test_a_connection_is_used_once_so_that_a_failure_does_not_spoil_the_next_request(stand_in):
    stand_in.replies["GET", "/info/"] = (500, "text/plain", b"broken")
    client = module.Client(stand_in.address)
    with pytest.raises(module.ServerError):
        client.info()
    stand_in.replies["GET", "/info/"] = {"models": {}}
    assert client.info() == {"models": {}}
    assert [request.headers["Connection"] for request in stand_in.requests] == ["close", "close"]


def test_redirects_are_refused_so_that_the_token_goes_nowhere_else(stand_in):
    stand_in.replies["GET", "/info/"] = (307, "text/plain", b"")
    stand_in.replies["GET", "/elsewhere/"] = {"models": {}}
    with pytest.raises(module.ServerError, match="another address"):
        module.Client(stand_in.address, "secret").info()
    assert len(stand_in.requests) == 1


def test_a_proxy_is_not_asked_for_a_server_on_this_computer(stand_in, monkeypatch):
    stand_in.replies["GET", "/info/"] = {"models": {}}
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert module.Client(stand_in.address).info() == {"models": {}}


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_server_that_is_not_there_is_named_by_its_address():
    address = f"http://127.0.0.1:{_free_port()}"
    with pytest.raises(module.ServerError, match="is it started") as error:
        module.Client(address).info()
    assert address in _one_line(error)


def test_a_server_that_does_not_answer_is_not_waited_for_forever(stand_in, volume, tmp_path):
    held = threading.Event()
    stand_in.replies["GET", "/info/"] = stand_in.replies["POST", "/infer/m"] = lambda _: held.wait(5)
    client = module.Client(stand_in.address, quick=0.2, slow=0.2)
    began = time.monotonic()
    for ask in (client.info, lambda: client.translate("m", volume, str(tmp_path))):
        with pytest.raises(module.ServerError, match=r"did not answer in time \(0.2 s\)") as error:
            ask()
        _one_line(error)
    assert time.monotonic() - began < 4
    held.set()


def test_an_answer_may_take_longer_than_the_connection_may(stand_in, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.1)
    stand_in.replies["GET", "/info/"] = lambda _: time.sleep(0.5) or {"models": {}}
    assert module.Client(stand_in.address).info() == {"models": {}}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort", "in the middle of the answer"),
    ],
)
def test_something_else_behind_the_port_or_a_broken_answer_is_said(sent, said):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(sent)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(module.ServerError, match=said) as error:
            module.Client(f"http://127.0.0.1:{listener.getsockname()[1]}").info()
        _one_line(error)
        thread.join(5)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"models": []}', b'{"detail": "x"}'])
def test_another_kind_of_server_is_recognised(stand_in, body):
    stand_in.replies["GET", "/info/"] = (200, "text/html", body)
    with pytest.raises(module.ServerError, match="not as a MONAI Label server"):
        module.Client(stand_in.address).info()


@pytest.mark.parametrize(
    "reply",
    [
        (200, "application/json", b'{"latencies": {}}'),  # what MONAI Label sends where a model wrote no file
        (200, "multipart/form-data", b"no boundary"),
        (200, "multipart/form-data; boundary=frontier", b"--frontier--\r\n"),
        (200, "multipart/form-data; boundary=frontier", b'--frontier\r\nContent-Disposition: form-data; name="image"'),
    ],
)
def test_an_answer_without_a_whole_volume_leaves_no_file(stand_in, volume, tmp_path, reply):
    stand_in.replies["POST", "/infer/m"] = reply
    folder = tmp_path / "answers"
    folder.mkdir()
    with pytest.raises(module.ServerError, match=r"without a volume|incomplete"):
        module.Client(stand_in.address).translate("m", volume, str(folder))
    assert list(folder.iterdir()) == []


def test_an_upload_that_the_server_does_not_want_ends_in_one_line(tmp_path):
    path = tmp_path / "large.nii.gz"
    path.write_bytes(os.urandom(1 << 20) * 16)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        with pytest.raises(module.ServerError, match=r"413|too large") as error:
            module.Client(f"http://127.0.0.1:{listener.getsockname()[1]}").add_image("case", str(path))
        _one_line(error)


def test_a_large_volume_is_read_from_the_disk_as_it_is_sent(tmp_path):
    path = tmp_path / "large.nii.gz"
    size = 48 << 20
    with open(path, "wb") as file:
        file.truncate(size)
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def swallow():
            connection, _ = listener.accept()
            with connection:
                count, piece = 0, connection.recv(1 << 16)
                while piece:
                    count += len(piece)
                    if count > size and piece.endswith(b"--\r\n"):
                        break
                    piece = connection.recv(1 << 16)
                received.append(count)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=swallow, daemon=True)
        thread.start()
        client = module.Client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        tracemalloc.start()
        client.add_image("case", str(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        thread.join(10)
    assert received[0] > size
    assert peak < 8 << 20
    assert client.sent == 1.0


def test_an_upload_can_be_cancelled(tmp_path, volume):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = module.Client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        client.cancel()
        with pytest.raises(module.ServerError, match=r"Cancelled\."):
            client.translate("m", volume, str(tmp_path))


@pytest.mark.parametrize("token", ["two words", "secret\nX-Evil: 1", "sécret"])
def test_a_token_that_fits_no_header_is_refused_without_repeating_it(token):
    with pytest.raises(module.ServerError, match="enter it again") as error:
        module.Client(token=token)
    assert token not in _one_line(error)


def test_a_token_as_files_hold_it_is_taken_without_its_line_end(stand_in):
    stand_in.replies["GET", "/info/"] = {"models": {}}
    module.Client(stand_in.address, "abc.def\n").info()
    assert stand_in.requests[0].headers["Authorization"] == "Bearer abc.def"


@pytest.mark.parametrize(
    "address",
    [
        *("file:///etc/passwd", "ftp://127.0.0.1", "", "http://", "http://user:pw@host", "http://host:port"),
        *("http://a b", "http://host/?x=1", "http://host:0", "http://h\u00f6st", "http://[::1"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused(address):
    with pytest.raises(module.ServerError, match="address"):
        module.Client(address)


def test_an_address_without_scheme_is_that_of_a_plain_server():
    client = module.Client(" 127.0.0.1:8000/ ")
    assert (client.address, client.local, client.encrypted) == ("http://127.0.0.1:8000", True, False)
    client = module.Client("https://label.example.org/monai")
    assert (client.address, client.local, client.encrypted) == ("https://label.example.org/monai", False, True)


@pytest.mark.parametrize("case", ["", "../x", "a/b", "Doe Jane", "a.b", "x" * 65, "ä"])
def test_case_ids_are_plain(stand_in, volume, case):
    client = module.Client(stand_in.address)
    for add in (client.add_image, client.add_target):
        with pytest.raises(module.ServerError, match="An ID is"):
            add(case, volume)
    assert stand_in.requests == []


def test_a_job_hands_back_what_its_function_returns_or_raises(tmp_path):
    job = module.Job(lambda: 42)
    assert job.finished(5)
    assert (job.result, job.error) == (42, None)
    job = module.Job(lambda: 1 / 0)
    assert job.finished(5)
    assert isinstance(job.error, ZeroDivisionError)


def test_files_of_an_abandoned_job_go_even_if_it_writes_them_afterwards(tmp_path):
    folder, go = tmp_path / "job", threading.Event()
    folder.mkdir()
    (folder / "volume.nii.gz").touch()

    def late():
        go.wait(5)
        folder.mkdir()
        (folder / "synthetic.nii.gz").touch()

    job = module.Job(late, str(folder))
    job.abandon()
    assert not folder.exists()
    go.set()
    assert job.finished(5)
    assert not folder.exists()


def test_training_is_told_in_one_line():
    assert module.training_line({}) == "No training runs."
    task = {"status": "RUNNING", "details": ["start", "epoch 3/50 loss 0.1", " "]}
    assert module.training_line(task) == "Training running: epoch 3/50 loss 0.1"
    assert module.training_line({"status": "DONE", "details": None}) == "Training done"
