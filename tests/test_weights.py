"""Wherever weights are read: code in a file never runs, a changed file is refused, and either is said in one line."""

import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export, load, onnx_export

from medtrans import InputError
from medtrans.engines import Checkpoints
from medtrans.files import file_hash
from medtrans.metrics import create
from medtrans.networks import BiGANFeatures, FrozenNetwork, VGG19Features
from medtrans.weights import read_weights

ROOT = Path(__file__).parents[1]


class Command:
    """What pickle runs when the file is read without care."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def as_saved(content, path):
    torch.save({"weight": torch.zeros(2), "more": content}, path)


def as_saved_long_ago(content, path):
    torch.save({"weight": torch.zeros(2), "more": content}, path, _use_new_zipfile_serialization=False)


def as_bare_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def canary(tmp_path):
    """A file that only code in a checkpoint makes; at the end of the test it is not there."""
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists(), "the code in the file ran"


@pytest.mark.parametrize("saved", [as_saved, as_saved_long_ago, as_bare_pickle])
def test_a_file_with_code_would_run_it_and_is_refused(tmp_path, saved):
    canary, path = tmp_path / "canary", tmp_path / "model.pt"
    saved(Command(canary), path)
    with pytest.raises(
        InputError, match=r"model.pt: holds code \(\w+.mkdir\) that reading it would run; it was not run"
    ):
        read_weights(path)
    assert not canary.exists()
    torch.load(path, weights_only=False) if saved is not as_bare_pickle else pickle.loads(path.read_bytes())
    assert canary.exists()  # so that the other tests look for the right thing


def test_what_training_writes_is_read(tmp_path):
    content = {"run": {"epoch": 3, "best": None, "names": ["a"]}, "weight": torch.rand(3, 4)}
    torch.save(content, tmp_path / "checkpoint.pt")
    for mapped in (False, True):
        found = read_weights(tmp_path / "checkpoint.pt", mapped)
        assert found["run"] == content["run"]
        assert torch.equal(found["weight"], content["weight"])


def test_a_cut_file_is_called_damaged(tmp_path):
    torch.save({"weight": torch.rand(30)}, tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:300])
    with pytest.raises(InputError, match="damaged or not a checkpoint"):
        read_weights(tmp_path / "model.pt")


def test_weights_that_were_changed_since_they_were_packed_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pt")
    (tmp_path / "modalities.json").write_text(json.dumps({"weights": {"model.pt": file_hash(tmp_path / "model.pt")}}))
    read_weights(tmp_path / "model.pt")
    torch.save({"weight": torch.ones(3)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"was changed since the bundle was packed \(SHA-256 "):
        read_weights(tmp_path / "model.pt")
    torch.save({"weight": torch.ones(3)}, tmp_path / "another.pt")
    read_weights(tmp_path / "another.pt")  # of which nothing is recorded


READERS = {
    "feature extractor": lambda path: BiGANFeatures(path).load(),
    "VGG-19": lambda path: VGG19Features(path).load(),
    "LPIPS": lambda path: create(["lpips"], {"lpips": {"weights": path}})[0]._load(),
}


@pytest.mark.parametrize("reader", READERS)
def test_instruments_run_no_code(reader, tmp_path, canary):
    as_saved(Command(canary), tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds code") as caught:
        READERS[reader](tmp_path / "weights.pt")
    assert str(caught.value).count("\n") == 0


def test_a_frozen_bundle_or_script_runs_no_code(tmp_path, canary, tiny_bundle):
    as_saved(Command(canary), tiny_bundle / "models/model.pt")
    with pytest.raises(InputError, match="holds code"):
        FrozenNetwork(tiny_bundle).load()
    as_saved(Command(canary), tmp_path / "network.ts")
    with pytest.raises(InputError, match="cannot be read as a network"):
        FrozenNetwork(tmp_path / "network.ts").load()


def test_a_run_is_not_resumed_from_code(tmp_path, canary):
    as_saved(Command(canary), tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="holds code"):
        Checkpoints(tmp_path).load(None)


@pytest.fixture
def tiny_bundle(tmp_path, write_trained_bundle):
    from medtrans.cohorts import write_phantom_cohort

    write_phantom_cohort(tmp_path / "set", 3, ["T1", "T2"], 12.0)
    return write_trained_bundle(tmp_path, "simple", tmp_path / "set")


def test_translation_runs_no_code_and_says_so_in_one_line(tmp_path, canary, tiny_bundle, run_medtrans):
    as_saved(Command(canary), tiny_bundle / "models/model.pt")
    code, last = run_medtrans("translate", tiny_bundle, tmp_path / "set", tmp_path / "out")
    assert code == 2
    assert re.match(r"error: .*model\.pt: holds code \(.*\) that reading it would run; it was not run\. Get the", last)


def test_monais_own_commands_run_no_code_either(tmp_path, canary, tiny_bundle):
    as_saved(Command(canary), tiny_bundle / "models/model.pt")
    options = {"bundle_root": str(tiny_bundle), "config_file": str(tiny_bundle / "configs/inference.json")}
    model = str(tiny_bundle / "models/model.pt")
    for export in (ckpt_export, onnx_export):
        with pytest.raises(pickle.UnpicklingError):
            export(
                "network_def", filepath=str(tmp_path / "out"), ckpt_file=model, input_shape=[1, 1, 16, 16], **options
            )
    with pytest.raises(pickle.UnpicklingError):
        load("simple", bundle_dir=tmp_path, workflow_type="inference", device="cpu")


def test_nothing_else_reads_weights():
    """``torch.load`` stands in one place of the package, and says weights_only there and in the benchmarks."""
    files = [*(ROOT / "medtrans").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    calls = [(path, call) for path in files for call in re.findall(r"torch\.load\([^\n]*", path.read_text())]
    assert calls
    assert all("weights_only=True" in call for _, call in calls)
    assert [path.name for path, _ in calls if path.is_relative_to(ROOT / "medtrans")] == ["weights.py"]
    strangers = [path for path in files if "scans" not in path.parts]  # scans/ talks to its own processes by pickle
    for other in ("pickle.load", "joblib.load", "allow_pickle=True", "dill.load"):
        assert [path for path in strangers if other in path.read_text()] == []
