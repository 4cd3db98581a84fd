"""A client gives target volumes and has a bundle trained on them; the result is a model beside the bundle's own."""

import json
import os
import time

import nibabel
import numpy as np
import pytest

SMALL = {"discriminator_def#channels": 4, "features#weights": "random", "num_workers": 0, "threads": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def trained(start, tiny_bundles, tmp_path_factory):
    """The server after a client's training, its last status, and the bundle's own weights before."""
    overlay = tmp_path_factory.mktemp("overlay") / "small.json"
    overlay.write_text(json.dumps({key.replace("#", "::"): value for key, value in SMALL.items()}))
    studies = tmp_path_factory.mktemp("hospital")
    server = start(studies, "--config", str(overlay))
    before = (tiny_bundles / "bundles/medgan/models/model.pt").read_bytes()
    for number in range(4):
        head = tiny_bundles / f"heads/head-000{number}"
        for method, path, name, volume in (
            ("PUT", f"/datastore/image?image=head{number}", "file", head / "T1.nii"),
            ("PUT", f"/datastore/label?image=head{number}&tag=final", "label", head / "T2.nii"),
        ):
            with volume.open("rb") as file:
                assert server.ask(method, path, files={name: file}).status_code == 200
    started = server.ask("POST", "/train/medgan", json={"max_epochs": 1, "val_split": 0.25, "device": "cpu"})
    assert started.status_code == 200, started.text
    return server, ended(server), before


def ended(server):
    """The task, when it has ended."""
    deadline = time.monotonic() + 400
    while (task := server.ask("GET", "/train/").json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < deadline, task
        time.sleep(0.3)
    return task


@pytest.mark.slow
def test_training_ends_and_its_figures_are_told(trained):
    server, task, _ = trained
    assert task["status"] == "DONE", "\n".join(task["details"])
    stats = server.ask("GET", "/info/").json()["train_stats"]["medgan"]
    assert (stats["epochs"], stats["training_subjects"], stats["validation_subjects"]) == (1, 3, 1)
    assert stats["pretrained"] is True
    assert not any("/" in str(value) for value in stats.values())


@pytest.mark.slow
def test_what_was_trained_is_a_model_of_its_own_and_the_bundles_stays(trained, tiny_bundles, tmp_path):
    server, _, before = trained
    assert set(server.ask("GET", "/info/").json()["models"]) == {"medgan", "medgan_studies"}
    volumes = [
        nibabel.load(server.volume(model, tmp_path / f"{model}.nii.gz", params={"image": "head0"})).get_fdata()
        for model in ("medgan", "medgan_studies")
    ]
    assert not np.array_equal(*volumes)
    assert (tiny_bundles / "bundles/medgan/models/model.pt").read_bytes() == before


@pytest.mark.slow
def test_the_new_model_gives_the_voxels_of_medtrans_translate(trained, tiny_bundles, translated, tmp_path):
    server, _, _ = trained
    (models,) = (server.folder / "work/training/medgan").glob("*/models-*")
    expected = nibabel.load(translated("medgan", tiny_bundles / "heads/head-0000/T1.nii", ckpt_dir=str(models)))
    got = nibabel.load(server.volume("medgan_studies", tmp_path / "a.nii.gz", params={"image": "head0"}))
    assert np.array_equal(got.get_fdata(), expected.get_fdata())


@pytest.mark.slow
def test_a_training_is_stopped_and_what_it_started_ends(trained):
    server, _, _ = trained
    asked = {"max_epochs": 100000, "val_split": 0.25, "device": "cpu"}
    assert server.ask("POST", "/train/medgan", json=asked).status_code == 200
    while server.ask("GET", "/train/").json()["status"] == "SUBMITTED":
        time.sleep(0.1)
    time.sleep(1)
    assert server.ask("DELETE", "/train/").status_code == 200
    assert ended(server)["status"] == "STOPPED"
    assert server.ask("GET", "/train/?check_if_running=true").status_code == 404


@pytest.mark.slow
def test_too_few_pairs_are_told(start, studies):
    server = start(studies)
    if os.path.isdir(studies / "labels/final"):
        assert not list((studies / "labels/final").iterdir())
    server.ask("POST", "/train/medgan", json={"max_epochs": 1, "device": "cpu"})
    task = ended(server)
    assert task["status"] == "ERROR"
    assert "pairs" in " ".join(task["details"])
