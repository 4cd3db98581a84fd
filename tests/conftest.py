"""What tests of several rooms need: a small DICOM series, and a bundle's models folder without training."""

import importlib.util
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
settings.register_profile("shared machine", deadline=None)  # how long an example takes is not what tests are about
settings.load_profile("shared machine")


def pytest_collection_modifyitems(config, items):
    """On several processes the files with slow tests come first, so that none begins a training when the rest is done.

    The Makefile asks for whole files in this order.
    """
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def _write_mr_series(folder, shape=(12, 20, 18), seed=0, **tags):
    """An axial MR series of a smooth blob, ``shape`` is (slices, rows, columns); returns its stored pixels."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    blob = np.exp(-2 * ((grid - np.random.default_rng(seed).uniform(-0.2, 0.2, (3, 1, 1, 1))) ** 2).sum(0))
    pixels = (1000 * blob).astype(np.uint16)
    uids = {key: generate_uid(entropy_srcs=[key, str(seed)]) for key in ("study", "series", "frame")}
    for k, plane in enumerate(pixels):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        values = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "PatientID": f"patient {seed}",
            "PatientName": f"Doe^{seed}",
            "Modality": "MR",
            "SeriesDescription": "T1 tra",
            "SeriesNumber": 3,
            "StudyInstanceUID": uids["study"],
            "SeriesInstanceUID": uids["series"],
            "FrameOfReferenceUID": uids["frame"],
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [-20, -25, 3.0 * k],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [2.5, 2.5],
            "SliceThickness": 3,
            "Rows": plane.shape[0],
            "Columns": plane.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 0,
        }
        for keyword, value in (values | tags).items():
            setattr(dataset, keyword, value)
        dataset.PixelData = plane.tobytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(folder / f"image{k:03d}", enforce_file_format=True)
    return pixels


def _write_models(folder, dataset, source="T1", target="T2", image_size=(16, 16), blocks=1, channels=(4, 4)):
    """What training leaves for inference, with random weights: ``model.pt`` and ``modalities.json`` in ``folder``."""
    import torch

    from medtrans.cohorts import describe_modalities, write_modalities
    from medtrans.networks import CasNet

    counts = [1 if isinstance(names, str) else len(names) for names in (source, target)]
    settings = {
        "dataset_dir": str(dataset),
        "image_size": list(image_size),
        "axis": "axial",
        "spatial_dims": len(image_size),
        "in_channels": counts[0],
        "out_channels": counts[1],
        "network": {
            "_target_": "medtrans.networks.CasNet",
            "spatial_dims": len(image_size),
            "in_channels": counts[0],
            "out_channels": counts[1],
            "blocks": blocks,
            "channels": list(channels),
        },
    }
    description = describe_modalities(dataset, source, target) | {"settings": settings}
    write_modalities(description, folder / "modalities.json")
    torch.manual_seed(0)
    torch.save(CasNet(len(image_size), *counts, blocks, channels).state_dict(), folder / "model.pt")
    return folder


# What makes a bundle so small that a step takes milliseconds; everything else is as it ships.
SMALL = {
    "network_def::blocks": 1,
    "network_def::channels": [4, 4, 4],
    "discriminator_def::channels": 4,
    "losses::style::weight": 0,
    "losses::content::weight": 0,
    "features::weights": "random",
    "threads": 1,
}


def _small_settings(*files):
    """Those of the settings above that the config, or the config with overlays, has; also of a bundle's folder."""
    from monai.bundle import ConfigParser

    paths = [path / "configs/train.json" if path.is_dir() else path for path in map(Path, files)]
    config = ConfigParser.load_config_files([str(path) for path in paths])

    def there(key):
        node = config
        for name in key.split("::"):
            node = node.get(name, KeyError) if isinstance(node, dict) else KeyError
        return node is not KeyError

    def like(key, value):  # one network has a width for each level, another one for all
        written = config.get(key.split("::")[0], {}).get("channels") if key.endswith("::channels") else value
        return value[0] if isinstance(value, list) and isinstance(written, int) else value

    def follows(key):  # another one, so that it must not be set
        written = config.get(key.split("::")[0], {}).get(key.split("::")[-1]) if "::" in key else None
        return isinstance(written, str) and written.startswith("@")

    small = {key: like(key, value) for key, value in SMALL.items() if there(key) and not follows(key)}
    judge = config.get("discriminator_def", {})
    if (len(files) == 1 or "scales" in judge) and judge.get("layers", 1) > 1:
        small["discriminator_def::layers"] = 1  # a 70×70 patch has a single position in the smallest images
    return small


def _write_trained_bundle(folder, name, dataset, spatial_dims=2, image_size=16, **settings):
    """A copy of a bundle in ``folder/name`` as a training leaves it, but untrained: random weights, made in a moment.

    The files, and what is recorded of the network and the modalities, are those that its train.json writes.
    """
    import torch
    from monai.bundle import ConfigParser

    copy = folder / name
    shutil.copytree(ROOT / "bundles" / name, copy, ignore=shutil.ignore_patterns("models", "eval"))
    files = [copy / "configs/train.json", *([copy / "configs/three_d.json"] if spatial_dims == 3 else [])]
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    small = {key: value for key, value in _small_settings(*files).items() if "_def::" in key}
    paths = {"bundle_root": str(copy), "dataset_dir": str(dataset)}
    parser.update({"image_size": [image_size] * spatial_dims, **paths, **small, **settings})
    torch.manual_seed(0)
    (copy / "models").mkdir()
    for place, handler in enumerate(parser["validate::handlers"]):
        if isinstance(handler, dict) and handler["_target_"].endswith(".BestModel"):
            of = f"validate::handlers::{place}"
            network = parser.get_parsed_content(parser[f"{of}::network"][1:])
            _unlike_new(network)
            torch.save(network.state_dict(), parser.get_parsed_content(f"{of}::path"))
    parser.get_parsed_content("run::1")  # writes modalities.json
    return copy


def _unlike_new(network):
    """Make biases, gains and running statistics matter: new ones are 0 or 1."""
    import torch

    with torch.no_grad():
        for values in (*network.parameters(), *network.buffers()):
            if values.ndim == 1 and values.is_floating_point() and len(values) > 0:
                values.copy_(values + 0.2 * torch.rand_like(values))


@pytest.fixture(scope="session")
def write_trained_bundle():
    return _write_trained_bundle


@pytest.fixture(scope="session")
def small_settings():
    return _small_settings


@pytest.fixture(scope="session")
def write_mr_series():
    return _write_mr_series


@pytest.fixture(scope="session")
def write_models():
    return _write_models


@pytest.fixture(scope="session")
def warm_python():
    """Path of an interpreter that runs ``-m medtrans.cli``, ``-m monai.bundle`` and benchmarks in milliseconds.

    Each command is a process with streams, signals and exit code of its own, and imports medtrans itself; only PyTorch,
    MONAI and the like, which take seconds, are there already. What tests of the start itself need is sys.executable.
    """
    import os
    import subprocess
    import sys
    import tempfile

    files = Path(__file__).parent / "warm_python"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are too long for a socket
        python, path = Path(folder) / "python", Path(folder) / "socket"
        python.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -IS "{files / "client.py"}" "{sys.executable}" "{path}" "$@"\n'
        )
        python.chmod(0o755)
        server = subprocess.Popen(
            [sys.executable, str(files / "server.py"), str(path), str(python)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True,
        )  # fmt: skip
        assert server.stdout.readline() == "ready\n", "the server has said on standard error why it did not start"
        yield str(python)
        server.stdin.close()
        server.wait(timeout=30)
        server.stdout.close()


@pytest.fixture(scope="session")
def in_two_processes():
    """``in_two_processes(work, *arguments)``: ``work(rank, *arguments)``, of a module, in a group of two (gloo).

    A process that waits for the other longer than a minute ends with an error.
    """
    import socket

    import torch

    def spawn(work, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        torch.multiprocessing.spawn(_one_of_two, (port, work, arguments), nprocs=2)

    return spawn


def _one_of_two(rank, port, work, arguments):
    from datetime import timedelta

    import torch

    minute = timedelta(minutes=1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", minute, world_size=2, rank=rank)
    work(rank, *arguments)
    torch.distributed.destroy_process_group()


@pytest.fixture
def run_medtrans(monkeypatch, capsys):
    """``run_medtrans(*words)``: the command in this process; gives exit code and last line on stderr."""
    import sys

    from medtrans.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["medtrans", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        lines = capsys.readouterr().err.strip().splitlines()
        return code, lines[-1] if lines else ""

    return run


@pytest.fixture(scope="session")
def layouts():
    """``tests/dataset_layouts.py``: public data sets in miniature, in the layout of their downloads."""
    spec = importlib.util.spec_from_file_location("dataset_layouts", Path(__file__).with_name("dataset_layouts.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _orthanc_module():
    spec = importlib.util.spec_from_file_location("orthanc_server", Path(__file__).with_name("orthanc_server.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def start_orthanc(tmp_path_factory):
    """``start_orthanc(folder=None, **configuration)``: a real PACS, see ``tests/orthanc_server.py``; skips without."""
    module, started = _orthanc_module(), []
    if reason := module.missing():
        pytest.skip(reason)

    def start(folder=None, **configuration):
        started.append(module.Orthanc(folder or tmp_path_factory.mktemp("orthanc"), **configuration))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def _shared_orthanc(start_orthanc):
    return start_orthanc()


@pytest.fixture
def orthanc(_shared_orthanc):
    """An empty PACS; ``orthanc.url`` is the root of its DICOMweb service."""
    _shared_orthanc.empty()
    return _shared_orthanc


@pytest.fixture(scope="session")
def louder_task(tmp_path_factory):
    """A task's file with a closed form: ``T1-loud`` is the T1 times a gain, plus the CT if there is one.

    Its class is in ``tests/tiny_degradation.py``.
    """
    import json

    path = tmp_path_factory.mktemp("tasks") / "louder.json"
    louder = {"_target_": "tiny_degradation.Louderd", "keys": "source", "companions": {"ct": "CT"}, "gain": "@gain"}
    content = {
        "target": "T1",
        "source": "@target",
        "source_name": "$@target + '-loud'",
        "target_name": "@target",
        "companions": ["CT"],
        "phantom::modalities": ["@target", "CT"],
        "gain": [1.5, 3.0],
        "train::degradation": [louder, {"_target_": "DeleteItemsd", "keys": "CT"}],
    }
    path.write_text(json.dumps(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield path
