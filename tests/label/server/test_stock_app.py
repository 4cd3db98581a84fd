"""MONAI Label's own monaibundle app, started as its users start it, with packed bundles in its model folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
PATHS = os.pathsep.join([str(ROOT / "medtrans/label/app"), str(ROOT)])  # what pydicom 3 lacks is there
TO_SOURCE = {"model_filename": "model_to_source.pt"}


@pytest.fixture(scope="module")
def app(tiny_bundles, tmp_path_factory):
    """The app's folder, with a bundle of one direction and one of two, which is there a second time turned round."""
    from medtrans.sharing import Packing, pack, unpack

    folder = tmp_path_factory.mktemp("apps")
    left_out = shutil.ignore_patterns("logs", "model")
    app = folder / "monaibundle"
    shutil.copytree(Path(sys.prefix) / "monailabel/sample-apps/monaibundle", app, ignore=left_out)
    for name, bundle in (("medgan", "medgan"), ("cyclegan", "cyclegan"), ("back", "cyclegan")):
        unpack(pack(tiny_bundles / "bundles" / bundle, folder / f"{name}.zip", Packing(name=name)), app / "model")
    config = app / "model/back/configs/inference.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"direction": "target_to_source"}))
    return app


@pytest.fixture(scope="module")
def stock(app, studies, launch, free_port, tmp_path_factory):
    """The app's server."""
    folder, port = tmp_path_factory.mktemp("stock"), free_port()
    shutil.copytree(studies, folder / "studies")
    words = ["-m", "monailabel.main", "start_server", "--host", "127.0.0.1", "--port", str(port), "--app", str(app)]
    words += ["--studies", str(folder / "studies"), "--conf", "models", "medgan,cyclegan,back"]
    words += ["--conf", "zoo_source", "ngc", "--conf", "sam2", "false", "--conf", "skip_trainers", "true"]
    return launch(words, port, folder, folder, environment={"PYTHONPATH": PATHS})


def asked(**params):
    return {"params": {"image": "one"}, "data": {"params": json.dumps(params)}}


def refused(stock, model, reason, **request):
    """MONAI Label tells clients nothing of why; the log does, a moment later."""
    before = len(stock.log.read_text())
    answer = stock.ask("POST", f"/infer/{model}?output=image", **request)
    assert answer.status_code == 500
    deadline = time.monotonic() + 20
    while reason not in (said := stock.log.read_text()[before:]):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def test_bundles_are_listed_as_if_they_made_label_maps(stock):
    info = stock.ask("GET", "/info/").json()
    told = {name: (model["type"], model["labels"]) for name, model in info["models"].items()}
    there, back = ("segmentation", {"t2": 0}), ("segmentation", {"t1": 0})
    assert told["medgan"] == told["cyclegan"] == there
    assert told["back"] in (there, back)
    assert info["trainers"] == {}


@pytest.mark.parametrize("model", ["medgan", "cyclegan"])
def test_a_study_is_translated_to_the_voxels_of_medtrans_translate(stock, model, studies, translated, tmp_path):
    got = nibabel.load(stock.volume(model, tmp_path / "a.nii.gz", params={"image": "one"}))
    same(got, nibabel.load(translated(model, studies / "one.nii.gz")))


def same(got, expected):
    assert got.get_data_dtype() == np.float32
    assert np.array_equal(got.get_fdata(), expected.get_fdata())
    assert np.allclose(got.affine, expected.affine, atol=1e-5)
    assert len(np.unique(got.get_fdata())) > 256


def test_an_uploaded_volume_is_translated_to_the_same_voxels(stock, studies, translated, tmp_path):
    with (studies / "two.nii").open("rb") as file:
        got = nibabel.load(stock.volume("medgan", tmp_path / "a.nii", files={"file": ("two.nii", file)}))
    same(got, nibabel.load(translated("medgan", studies / "two.nii")))


def test_a_bundle_turned_round_gives_the_other_direction(stock, studies, translated, tmp_path):
    got = nibabel.load(stock.volume("back", tmp_path / "a.nii.gz", **asked(**TO_SOURCE)))
    same(got, nibabel.load(translated("cyclegan", studies / "one.nii.gz", direction="target_to_source")))


def test_the_other_directions_weights_are_refused(stock):
    refused(stock, "cyclegan", "this direction's weights are model.pt", **asked(**TO_SOURCE))
    refused(stock, "back", "this direction's weights are model_to_source.pt", **asked())


def test_integers_are_refused_as_a_stock_client_asks_for_them(stock):
    refused(stock, "medgan", "no label map", **asked(result_extension=".nrrd", result_dtype="uint8"))


def test_a_sheared_grid_is_refused_which_would_be_written_straight(stock, studies, tmp_path):
    image = nibabel.load(studies / "one.nii.gz")
    affine = image.affine.copy()
    affine[1, 2] = 0.1 * affine[2, 2]
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), affine), tmp_path / "tilted.nii.gz")
    with (tmp_path / "tilted.nii.gz").open("rb") as file:
        refused(stock, "medgan", "sheared grid", files={"file": ("tilted.nii.gz", file)})


@pytest.mark.slow
@pytest.mark.parametrize("processes", [{}, {"force_multi_gpu": True, "gpus": "0"}], ids=["one", "torchrun"])
def test_training_there_is_refused_before_the_contract_is_replaced(app, tiny_bundles, tmp_path, processes):
    """The app would train on its own list of files, which says nothing of modalities and subjects."""
    bundle = shutil.copytree(app / "model/medgan", tmp_path / "medgan")
    head = tiny_bundles / "heads/head-0000"
    program = f"""
import medtrans.label.pydicom_names
from monailabel.tasks.train.bundle import BundleTrainTask
class Labelled:
    def datalist(self):
        return [{{"image": {str(head / "T1.nii")!r}, "label": {str(head / "T2.nii")!r}}}] * 2
request = {{"model": "medgan", "max_epochs": 1, "device": "cpu", "val_split": 0.5}} | {processes!r}
BundleTrainTask({str(bundle)!r}, {{}})(request, Labelled())
"""
    before = {path.name: path.read_bytes() for path in (bundle / "models").iterdir()}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where torchrun is
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": PATHS, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "train::dataset::data: is a list of files" in run.stdout + run.stderr
    assert {path.name: path.read_bytes() for path in (bundle / "models").iterdir()} == before
