"""A MONAI Label server with tiny trained bundles, started as a user starts it; only where MONAI Label is installed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUNDLES = ("medgan", "cyclegan", "unit")


def pytest_collection_modifyitems(items):
    """These tests belong to the environment of `make label`."""
    from importlib.util import find_spec

    if find_spec("monailabel") is None:
        for item in items:
            if Path(__file__).parent in Path(item.fspath).parents:
                item.add_marker(pytest.mark.skip(reason="MONAI Label has an environment of its own: make label"))


@dataclass
class Server:
    """A running server.

    Attributes:
        url: where it answers.
        folder: in which it was started: bundles, models, work.
        log: what it says.
        headers: sent with every request.
        started_in: the working directory of its process.
        ca: who signed its certificate, where it speaks https.
    """

    url: str
    folder: Path
    log: Path
    process: subprocess.Popen
    headers: dict = field(default_factory=dict)
    started_in: Path | None = None
    ca: str | None = None

    def ask(self, method, path, **options):
        """The response to a request, on a connection of its own."""
        import requests

        headers = self.headers | options.pop("headers", {})
        secure = {"verify": self.ca} if self.ca else {}
        return requests.request(method, self.url + path, headers=headers, timeout=300, **secure, **options)

    def volume(self, model, path, **options):
        """The bytes of the volume that a model answers with, and the file type's ending."""
        answer = self.ask("POST", f"/infer/{model}?output=image", **options)
        assert answer.status_code == 200, answer.text
        path.write_bytes(answer.content)
        return path

    def stop(self):
        """End it, and everything that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory, write_models):
    """A folder with bundles/, trained models of random weights in them, and a data set of four coarse heads."""
    import torch

    from medtrans.cohorts import write_phantom_cohort
    from medtrans.networks import ResNetGenerator

    folder = tmp_path_factory.mktemp("label")
    write_phantom_cohort(folder / "heads", 4, ["T1", "T2"], 8.0, 0, None)
    for name in BUNDLES:
        left_out = shutil.ignore_patterns("models", "eval")
        shutil.copytree(ROOT / "bundles" / name, folder / "bundles" / name, ignore=left_out)
    write_models(_made(folder / "bundles/medgan/models"), folder / "heads")
    models = write_models(_made(folder / "bundles/cyclegan/models"), folder / "heads")
    network = {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": 4, "blocks": 1}
    recorded = json.loads((models / "modalities.json").read_text())
    target = {"_target_": "medtrans.networks.ResNetGenerator", **network}
    recorded["settings"] |= {"network": target, "network_to_source": target}
    (models / "modalities.json").write_text(json.dumps(recorded))
    for seed, name in enumerate(("model.pt", "model_to_source.pt")):
        torch.manual_seed(seed)
        torch.save(ResNetGenerator(**network).state_dict(), models / name)
    return folder


def _made(folder):
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def studies(tmp_path_factory, tiny_bundles):
    """A flat folder of studies: T1 of three heads, one of them in a sub-folder, one compressed."""
    import nibabel

    folder = tmp_path_factory.mktemp("studies")
    for number, name in enumerate(("one.nii.gz", "two.nii", "ward/three.nii.gz")):
        (folder / name).parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.load(tiny_bundles / f"heads/head-000{number}/T1.nii"), folder / name)
    return folder


@pytest.fixture(scope="session")
def launch():
    """``launch(words, port, work, ...)`` starts a Python program and waits for its server; all are stopped in the end.

    ``said`` is what its log says when it is ready, ``folder`` where it runs, ``work`` where the log goes.
    """
    running = []

    def launch(words, port, work, folder, said="", environment=None, headers=None, ca=None):
        log = work / "server.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | (environment or {}),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        url = f"http{'s' if ca else ''}://127.0.0.1:{port}"
        server = Server(url, work, log, process, headers or {}, folder, ca)
        running.append(server)
        deadline = time.monotonic() + 180
        while said not in log.read_text() or not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        return server

    yield launch
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def free_port():
    """``free_port()``: one that nothing listens on."""
    return _free_port


@pytest.fixture(scope="session")
def start(tmp_path_factory, tiny_bundles, launch):
    """``start(studies, *options)`` starts ``medtrans label``."""

    def start(
        studies, *options, environment=None, headers=None, bundles="bundles/medgan", folder=tiny_bundles, ca=None
    ):
        port, work = _free_port(), tmp_path_factory.mktemp("work")
        chosen = ["--bundles", bundles] if bundles else []
        words = ["-m", "medtrans.cli", "label", str(studies), *chosen, "--port", str(port)]
        words += ["--work", str(work / "work"), *options]
        return launch(words, port, work, folder, "Stop it with", environment, headers, ca)

    return start


def _listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def arrived(tiny_bundles, tmp_path_factory):
    """The folder of a bundle that was packed, sent and unpacked."""
    from medtrans.sharing import Packing, pack, unpack

    folder = tmp_path_factory.mktemp("elsewhere")
    packed = pack(tiny_bundles / "bundles/medgan", folder / "arrived.zip", Packing(name="arrived"))
    return unpack(packed, folder)


@pytest.fixture(scope="session")
def server(start, studies, arrived):
    """The server of a folder, with a method of one direction, one of two, and a bundle that came packed."""
    return start(studies, bundles=f"bundles/medgan,bundles/cyclegan,{arrived}")


@pytest.fixture(scope="session")
def translated(tiny_bundles, tmp_path_factory):
    """``translated(bundle, volume, **settings)``: the volume that `medtrans translate` writes, which calls the same."""

    def translate(bundle, volume, **settings):
        from medtrans.engines.bundle_run import run_inference

        folder = tmp_path_factory.mktemp("translated")
        run_inference(tiny_bundles / "bundles" / bundle, str(volume), folder, overrides=settings)
        return next(folder.glob("*_synthetic.nii.gz"))

    return translate
