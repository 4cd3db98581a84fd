"""The Slicer module's panel, in a recording stand-in for Slicer, against a stand-in for the server."""

import ast
import gzip
import importlib.util
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

HERE = Path(__file__).parent
MODULE = HERE.parents[1] / "medtrans" / "label" / "slicer" / "MedTransTranslate.py"
AFFINE = np.array([[0.0, -0.9, 0.1, 40.0], [-1.1, 0.0, 0.0, 20.0], [0.0, 0.1, 2.0, -30.0], [0.0, 0.0, 0.0, 1.0]])
AFFINE[:3, :3] = np.linalg.qr(AFFINE[:3, :3])[0] @ np.diag([1.1, 0.9, 2.0])  # oblique, but no shear: NIfTI has none
MODELS = {
    "a_segmentation": {"type": "segmentation", "labels": {}},
    "medgan": {
        **{"type": "others", "description": "Head", "source": "T1", "target": "CT", "unit": "HU"},
        "config": {"overlap": 0.25, "batch_size": 4, "device": ["cpu"]},
    },
}
TRAINERS = {"medgan": {"description": "", "config": {"max_epochs": 7, "pretrained": False, "device": None}}}


def _loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


server = _loaded(HERE / "stand_in_server.py")


@pytest.fixture
def stand_in():
    running = server.StandIn()
    running.replies["GET", "/info/"] = {"models": MODELS, "trainers": TRAINERS, "datastore": {}}
    running.replies["POST", "/infer/medgan"] = _halved
    yield running
    running.close()


def _halved(request, params=None, shift=0.0):
    """What a server does: the volume that came, halved, as float32 on the same grid (``shift`` mm off)."""
    volume = nibabel.Nifti1Image.from_bytes(gzip.decompress(request.form["file"][1]))
    affine = volume.affine + np.array([[0, 0, 0, shift]] + 3 * [[0, 0, 0, 0]])
    answer = nibabel.Nifti1Image((volume.get_fdata() / 2 - 1000).astype(np.float32), affine)
    return server.multipart_answer(params or {}, gzip.compress(answer.to_bytes()))


@pytest.fixture
def slicer(monkeypatch, tmp_path):
    """A recorded Slicer with the module loaded in it, a T1 of a patient in its scene."""
    recorded = _loaded(HERE / "recorded_slicer.py").RecordedSlicer(tmp_path)
    recorded.install(monkeypatch)
    recorded.module = _loaded(MODULE)
    recorded.temporary = tmp_path
    array = np.random.default_rng(0).integers(0, 4000, (7, 6, 5)).astype(np.int16)
    recorded.t1 = recorded.add("Doe^Jane T1", array, AFFINE.copy())
    return recorded


@pytest.fixture
def panel(slicer, stand_in):
    """The module's panel, not yet connected, the T1 chosen."""
    widget = slicer.module.MedTransTranslateWidget()
    widget.setup()
    widget.address.text = stand_in.address
    widget.source_box.select(slicer.t1)
    yield widget
    widget.cleanup()


def _wait(panel, timer="_timer", until=None):
    """Let Slicer's timer come by until the request is done."""
    until = until or (lambda: panel._job is None)
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline, "the request never ended"
        getattr(panel, timer).fire()
        time.sleep(0.005)


def _connect(panel):
    panel.connect_button.click()
    _wait(panel)


def test_the_file_needs_nothing_but_python_3_9_and_slicer():
    source = MODULE.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.split(".")[0])
    assert imported <= set(sys.stdlib_module_names) | {"slicer", "qt", "ctk", "vtk"}
    assert not imported & {"cgi", "imp", "distutils"}  # gone from the Pythons of later Slicers


def test_the_file_is_no_module_of_the_package():
    assert importlib.util.find_spec("medtrans.label") is not None
    assert not (MODULE.parent / "__init__.py").exists()
    assert [path.name for path in MODULE.parent.glob("*.py")] == [MODULE.name]


def test_slicer_finds_the_classes_that_it_looks_for(slicer):
    parent = SimpleNamespace(path=str(MODULE))
    slicer.module.MedTransTranslate(parent)
    assert parent.title == "MedTrans Translate"
    assert parent.categories == ["Image Synthesis"]
    assert "NOT FOR DIAGNOSIS" in parent.helpText
    for part in ("Widget", "Logic", "Test"):
        assert hasattr(slicer.module, f"MedTransTranslate{part}")


def test_what_slicer_tests_itself_holds_in_the_stand_in(slicer):
    test = slicer.module.MedTransTranslateTest()
    test.runTest()
    assert slicer.layers


def test_connect_lists_the_translations_and_their_options(panel, slicer, stand_in):
    assert not panel.translate_button.enabled
    panel.token.text = "secret"
    _connect(panel)
    assert panel.model_box.rows == ["T1 → CT (HU), medgan"]
    assert panel.trainer_box.rows == ["medgan"]
    assert {key: box.value for key, box in panel.options.items()} == {"overlap": 0.25, "batch_size": 4}
    assert panel.translate_button.enabled
    assert stand_in.requests[0].headers["Authorization"] == "Bearer secret"
    assert slicer.settings == {"MedTransTranslate/address": stand_in.address}  # and no token
    assert panel.token.echoMode == 2
    assert not slicer.errors


def test_translate_shows_a_scalar_volume_over_which_the_source_can_be_faded(panel, slicer, stand_in):
    slicer.t1.transform = "vtkMRMLLinearTransformNode7"
    _connect(panel)
    panel.options["overlap"].value = 0.5
    panel.translate_button.click()
    assert not panel.translate_button.enabled
    _wait(panel)
    (request,) = stand_in.asked("POST", "/infer/medgan")
    assert b'"overlap": 0.5' in request.form["params"][1]
    node = slicer.layers[-1][0]
    assert node.GetName() == "Doe^Jane T1 synthetic CT - NOT FOR DIAGNOSIS"
    assert node.GetClassName() == "vtkMRMLScalarVolumeNode"
    assert node.image.array.dtype == np.float32
    np.testing.assert_array_equal(node.image.array, slicer.t1.image.array.astype(np.float32) / 2 - 1000)
    np.testing.assert_array_equal(node.affine, AFFINE)
    assert node.transform == "vtkMRMLLinearTransformNode7"
    assert node.display.automatic
    assert slicer.layers[-1][1:] == (slicer.t1, 0.0)
    assert "NOT FOR DIAGNOSIS" in panel.status.text
    panel.opacity.value = 0.4
    assert slicer.layers[-1] == ("keep", "keep", 0.4)
    assert not slicer.errors


def test_of_several_targets_the_chosen_one_is_asked_for(panel, slicer, stand_in):
    models = {"two": {"source": "T1", "target": "CT, PET", "targets": ["CT", "PET"], "unit": "HU"}}
    stand_in.replies["GET", "/info/"] = {"models": models, "trainers": {}}
    stand_in.replies["POST", "/infer/two"] = lambda request: _halved(request, {"unit": "SUV"})
    _connect(panel)
    assert panel.model_box.rows == ["T1 → CT, two", "T1 → PET, two"]
    panel.model_box.select(1)
    panel.translate_button.click()
    _wait(panel)
    assert b'"target": "PET"' in stand_in.asked("POST", "/infer/two")[0].form["params"][1]
    assert slicer.layers[-1][0].GetName() == "Doe^Jane T1 synthetic PET - NOT FOR DIAGNOSIS"
    assert "synthetic PET in SUV" in panel.status.text


def test_a_model_of_several_sources_is_not_given_half_of_them(panel, slicer, stand_in):
    both = {"both": {"source": "T1, T2", "sources": ["T1", "T2"], "target": "CT"}}
    stand_in.replies["GET", "/info/"] = {"models": both, "trainers": {}}
    _connect(panel)
    panel.translate_button.click()
    assert slicer.errors == ["both translates 2 volumes together, this panel sends one."]
    assert len(stand_in.requests) == 1


@pytest.fixture
def of_pet(panel, stand_in):
    """The panel, connected to a server with one model, of PET in SUV."""
    about = {"source": "PET", "sources": ["PET"], "source_units": ["SUV"], "target": "CT", "unit": "HU"}
    stand_in.replies["GET", "/info/"] = {"models": {"medgan": about}, "trainers": {}}
    _connect(panel)
    return panel


def test_the_panel_says_what_unit_the_source_must_be_in(of_pet, slicer):
    assert of_pet.model_box.rows == ["PET (SUV) → CT (HU), medgan"]
    of_pet.translate_button.click()
    assert "It expects SUV, this volume does not say its unit." in of_pet.status.text
    _wait(of_pet)
    assert slicer.layers


@pytest.mark.parametrize(("units", "told"), [("Bq/mL", "Bq/ml"), ("[hnsf'U]", "HU"), ("{SUVlbm}g/ml", "suvlbm")])
def test_a_volume_in_another_unit_is_refused_before_anything_is_sent(units, told, of_pet, slicer, stand_in):
    slicer.t1.units = units
    of_pet.translate_button.click()
    (error,) = slicer.errors
    assert error.startswith(f"This volume is in {told}, but medgan translates PET in SUV: choose another volume.")
    assert not stand_in.asked("POST", "/infer/medgan")
    assert list(slicer.temporary.iterdir()) == []


@pytest.mark.parametrize("units", ["{SUVbw}g/ml", "g/ml{SUVbw}", "SUV", "SUVbw"])
def test_a_volume_in_the_models_unit_however_spelled_is_sent_with_it(units, of_pet, slicer, stand_in):
    slicer.t1.units = units
    of_pet.translate_button.click()
    assert "does not say" not in of_pet.status.text
    _wait(of_pet)
    assert b'"source_unit": "SUV"' in stand_in.asked("POST", "/infer/medgan")[0].form["params"][1]
    assert not slicer.errors


def test_without_a_unit_in_the_scene_that_of_the_dicom_images_counts(of_pet, slicer, stand_in):
    """Slicer's own reader gives PET as it is stored, and no unit."""
    slicer.t1.attributes["DICOM.instanceUIDs"] = "1.2.3.4 1.2.3.5"
    slicer.dicom["1.2.3.4", "0054,1001"] = "BQML"
    of_pet.translate_button.click()
    assert "is in Bq/ml" in slicer.errors[-1]
    slicer.dicom["1.2.3.4", "0054,1001"], slicer.dicom["1.2.3.4", "0054,1006"] = "GML", "LBM"
    of_pet.translate_button.click()
    assert "is in suvlbm" in slicer.errors[-1]
    assert not stand_in.asked("POST", "/infer/medgan")
    slicer.dicom["1.2.3.4", "0054,1006"] = ""
    of_pet.translate_button.click()
    _wait(of_pet)
    slicer.dicom["1.2.3.4", "0054,1001"], slicer.t1.units = "BQML", "1"  # a program's own result, without unit
    of_pet.translate_button.click()
    _wait(of_pet)
    assert len(stand_in.asked("POST", "/infer/medgan")) == len(slicer.errors) == 2


def test_a_server_that_does_not_tell_its_unit_is_told_that_of_the_volume(panel, slicer, stand_in):
    slicer.t1.units = "[hnsf'U]"
    _connect(panel)
    panel.translate_button.click()
    _wait(panel)
    assert b'"source_unit": "HU"' in stand_in.asked("POST", "/infer/medgan")[0].form["params"][1]
    assert not slicer.errors


def test_a_slicer_that_cannot_export_saves_a_copy_and_leaves_the_volume_its_file(panel, slicer, stand_in):
    del slicer.util.exportNode
    slicer.t1.storage = SimpleNamespace(file="/data/t1.nrrd")
    slicer.t1.transform = "vtkMRMLLinearTransformNode7"
    before = list(slicer.scene.nodes)
    _connect(panel)
    panel.translate_button.click()
    assert slicer.scene.nodes == before
    _wait(panel)
    sent = nibabel.Nifti1Image.from_bytes(gzip.decompress(stand_in.asked("POST", "/infer/medgan")[0].form["file"][1]))
    np.testing.assert_array_equal(sent.get_fdata(), slicer.t1.image.array)
    np.testing.assert_allclose(sent.affine, AFFINE, atol=1e-4)
    assert slicer.t1.storage.file == "/data/t1.nrrd"
    assert slicer.layers[-1][1] is slicer.t1
    assert not slicer.errors


def test_a_second_translation_has_a_name_of_its_own(panel, slicer):
    _connect(panel)
    for _ in range(2):
        panel.translate_button.click()
        _wait(panel)
    names = [layer[0].GetName() for layer in slicer.layers if layer[0] != "keep"]
    assert len(set(names)) == 2
    assert all("NOT FOR DIAGNOSIS" in name for name in names)


def test_images_of_a_patient_do_not_stay_in_the_temporary_folder(panel, slicer, stand_in):
    _connect(panel)
    panel.translate_button.click()
    _wait(panel)
    assert list(slicer.temporary.rglob("*.nii*")) == []
    node = slicer.layers[-1][0]
    assert node.storage is None  # so that Slicer asks where to save it
    stand_in.replies["POST", "/infer/medgan"] = (500, "text/plain", b"no")
    panel.translate_button.click()
    _wait(panel)
    assert list(slicer.temporary.iterdir()) == []


def test_window_and_level_come_from_the_server_where_it_says_them(panel, slicer, stand_in):
    display = {"display": {"window": 80, "level": 40}}
    stand_in.replies["POST", "/infer/medgan"] = lambda request: _halved(request, display)
    _connect(panel)
    panel.translate_button.click()
    _wait(panel)
    shown = slicer.layers[-1][0].display
    assert (shown.automatic, shown.window, shown.level) == (False, 80.0, 40.0)


def test_an_answer_on_another_grid_is_not_shown(panel, slicer, stand_in):
    stand_in.replies["POST", "/infer/medgan"] = lambda request: _halved(request, shift=1.0)
    _connect(panel)
    panel.translate_button.click()
    _wait(panel)
    assert slicer.errors == ["The server's volume lies on another grid than the source and is not shown."]
    assert not slicer.layers
    assert [node for node in slicer.scene.nodes if hasattr(node, "image")] == [slicer.t1]


def test_a_server_error_is_one_message_and_the_panel_goes_on(panel, slicer, stand_in):
    stand_in.replies["POST", "/infer/medgan"] = (500, "application/json", b'{"detail": "out of memory"}')
    _connect(panel)
    panel.translate_button.click()
    _wait(panel)
    assert slicer.errors == ["The server refused (HTTP 500): out of memory"]
    stand_in.replies["POST", "/infer/medgan"] = _halved
    panel.translate_button.click()
    _wait(panel)
    assert len(slicer.errors) == 1
    assert slicer.layers


def test_a_wrong_address_or_server_is_one_message(panel, slicer, stand_in):
    panel.address.text = "file:///etc/passwd"
    panel.connect_button.click()
    assert "address" in slicer.errors[0]
    panel.address.text = stand_in.address
    stand_in.replies["GET", "/info/"] = (200, "text/html", b"<html>")
    _connect(panel)
    assert "MONAI Label" in slicer.errors[1]
    assert not panel.translate_button.enabled


def test_a_server_without_translations_is_told(panel, slicer, stand_in):
    stand_in.replies["GET", "/info/"] = {"models": {"a_segmentation": MODELS["a_segmentation"]}}
    _connect(panel)
    assert "No translation" in panel.status.text
    assert panel.model_box.rows == []
    assert not panel.translate_button.enabled
    assert not panel.train_button.enabled


def test_slicer_stays_usable_while_the_server_works_and_cancel_drops_the_answer(panel, slicer, stand_in):
    held = threading.Event()

    def late(request):
        held.wait(5)
        return _halved(request)

    stand_in.replies["POST", "/infer/medgan"] = late
    _connect(panel)
    panel.translate_button.click()
    for _ in range(3):
        began = time.monotonic()
        panel.poll()
        assert time.monotonic() - began < 1
    job = panel._job
    panel.cancel_button.click()
    assert panel.status.text == "Cancelled."
    assert panel.connect_button.enabled
    held.set()
    assert job.finished(5)
    panel.poll()
    assert not slicer.layers
    assert list(slicer.temporary.iterdir()) == []
    stand_in.replies["POST", "/infer/medgan"] = _halved  # and the next one goes through
    panel.translate_button.click()
    _wait(panel)
    assert slicer.layers


def test_a_source_that_was_closed_meanwhile_gets_no_answer(panel, slicer):
    _connect(panel)
    panel.translate_button.click()
    slicer.scene.RemoveNode(slicer.t1)
    _wait(panel)
    assert "closed meanwhile" in slicer.errors[0]
    assert slicer.scene.nodes == []


def test_a_pair_goes_to_the_datastore_under_a_plain_id_and_the_next_one_has_another(panel, slicer, stand_in):
    stand_in.replies["PUT", "/datastore/image"] = {"image": "x"}
    stand_in.replies["PUT", "/datastore/label"] = {"label": "x"}
    ct = np.random.default_rng(1).normal(size=(7, 6, 5)).astype(np.float32)
    panel.target_box.select(slicer.add("Doe^Jane CT", ct, AFFINE.copy()))
    _connect(panel)
    subject = panel.subject.text
    panel.save_button.click()
    _wait(panel)
    image, label = stand_in.asked("PUT", "/datastore/image")[0], stand_in.asked("PUT", "/datastore/label")[0]
    case = image.query.split("=")[1]
    assert label.query == f"image={case}&tag=final"
    assert case.startswith(f"{subject}_")
    assert image.form["params"][1] == f'{{"subject": "{subject}"}}'.encode()
    sent = nibabel.Nifti1Image.from_bytes(gzip.decompress(image.form["file"][1]))
    np.testing.assert_array_equal(sent.get_fdata(), slicer.t1.image.array)
    sent = nibabel.Nifti1Image.from_bytes(gzip.decompress(label.form["label"][1]))
    np.testing.assert_array_equal(sent.get_fdata(), ct)
    np.testing.assert_allclose(sent.affine, AFFINE, atol=1e-4)
    assert "Doe" not in case
    assert panel.subject.text != subject
    assert subject in panel.status.text
    assert not slicer.errors
    assert list(slicer.temporary.iterdir()) == []


def test_half_a_pair_does_not_stay_on_the_server(panel, slicer, stand_in):
    stand_in.replies["PUT", "/datastore/image"] = {"image": "x"}
    stand_in.replies["PUT", "/datastore/label"] = (400, "application/json", b'{"detail": "disk full"}')
    stand_in.replies["DELETE", "/datastore/image"] = {}
    panel.target_box.select(slicer.add("CT", np.zeros((4, 4, 4), np.float32), np.eye(4)))  # grids may differ
    _connect(panel)
    panel.save_button.click()
    _wait(panel)
    image, removed = stand_in.asked("PUT", "/datastore/image")[0], stand_in.asked("DELETE", "/datastore/image")[0]
    assert removed.query.removeprefix("id=") == image.query.removeprefix("image=")
    assert slicer.errors == ["The server refused (HTTP 400): disk full"]


def test_pairs_that_teach_nothing_are_refused_before_anything_is_sent(panel, slicer, stand_in):
    array = np.zeros((7, 6, 5), np.float32)
    moved = slicer.add("moved", array, AFFINE.copy())
    moved.transform = "node9"
    synthetic = slicer.add("synthetic", array, AFFINE.copy())
    synthetic.attributes["medtrans.model"] = "medgan"
    wrong = {
        "same volume": slicer.t1,
        "different transforms": moved,
        "is synthetic": synthetic,
        "no voxels": slicer.add("empty", None, AFFINE.copy()),
    }
    _connect(panel)
    asked = len(stand_in.requests)
    for said, target in wrong.items():
        panel.target_box.select(target)
        panel.save_button.click()
        assert said in slicer.errors[-1]
    panel.target_box.select(slicer.add("target", array, AFFINE.copy()))
    panel.subject.text = "Doe Jane"
    panel.save_button.click()
    assert "without the patient's name" in slicer.errors[-1]
    assert len(slicer.errors) == len(wrong) + 1
    assert len(stand_in.requests) == asked
    assert list(slicer.temporary.iterdir()) == []


def test_training_is_started_watched_and_stopped_from_the_panel(panel, slicer, stand_in):
    task = {"status": "RUNNING", "details": ["epoch 1/3"]}
    stand_in.replies["POST", "/train/medgan"] = {"status": "SUBMITTED"}
    stand_in.replies["GET", "/train/"] = lambda request: task
    stand_in.replies["DELETE", "/train/"] = {"status": "STOPPED"}
    _connect(panel)
    assert (panel.epochs.value, panel.pretrained.checked) == (7, False)  # as the trainer would
    panel.epochs.value, panel.pretrained.checked = 3, True
    panel.train_button.click()
    _wait(panel)
    assert stand_in.asked("POST", "/train/medgan")[0].body == b'{"max_epochs": 3, "pretrained": true}'
    assert panel.training.text == "Training submitted"
    _wait(panel, "_training_timer", lambda: panel.training.text == "Training running: epoch 1/3")
    assert panel._training_timer.running
    panel.stop_button.click()
    _wait(panel)
    assert stand_in.asked("DELETE", "/train/")
    task["status"] = "STOPPED"
    _wait(panel, "_training_timer", lambda: not panel._training_timer.running)
    assert panel.training.text == "Training stopped: epoch 1/3"
    task["status"] = "DONE"
    panel.train_button.click()
    _wait(panel)
    _wait(panel, "_training_timer", lambda: not panel._training_timer.running)
    assert "Connect again" in panel.training.text
    assert not slicer.errors


def test_a_question_that_fails_does_not_end_the_watch_over_a_training(panel, slicer, stand_in):
    stand_in.replies["GET", "/train/"] = (502, "text/plain", b"the proxy is restarted")
    _connect(panel)
    _wait(panel, "_training_timer", lambda: "the proxy is restarted" in panel.training.text)
    assert panel._training_timer.running
    stand_in.replies["GET", "/train/"] = {"status": "DONE", "details": ["epoch 3/3"]}
    _wait(panel, "_training_timer", lambda: not panel._training_timer.running)
    assert "Training done: epoch 3/3" in panel.training.text
    assert not slicer.errors


def test_the_token_can_come_from_a_file(panel, slicer, stand_in, tmp_path_factory):
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text("abc.def\n", encoding="utf-8")
    slicer.chosen_file = str(file)
    panel.read_token()
    _connect(panel)
    assert stand_in.requests[0].headers["Authorization"] == "Bearer abc.def"
    file.write_bytes(b"\xff\xfe\x00")
    panel.read_token()
    slicer.chosen_file = str(file.with_name("none"))
    panel.read_token()
    assert len(slicer.errors) == 2
    assert all("access token" in text for text in slicer.errors)
