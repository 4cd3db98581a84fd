"""Which bundles a server offers, and as which models."""

import json
import shutil

import pytest

from medtrans import InputError
from medtrans.label.served import OF_STUDIES, ServedBundle, TrainedHere, served_bundles


@pytest.fixture
def bundles(root, tmp_path, monkeypatch):
    """Bundles in the working directory, none trained."""
    for name in ("pix2pix", "cyclegan", "unit"):
        left_out = shutil.ignore_patterns("models", "eval")
        shutil.copytree(root / "bundles" / name, tmp_path / "bundles" / name, ignore=left_out)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "bundles"


def trained(folder, *files, source="T1", target="T2"):
    """What training leaves, as far as it is looked at here."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"background": 0.0, "intensity": {"_target_": "x"}, "window": [0, 1, ""], "unit": ""}
    sides = {"source": [entry | {"modality": source}], "target": [entry | {"modality": target}]}
    (folder / "modalities.json").write_text(json.dumps({"format": 1, "spacing": [1, 1, 1], **sides}))
    for name in files:
        (folder / name).touch()


def models(bundle):
    return [name for name, direction in bundle.directions() if bundle.translates(direction)]


def test_every_trained_bundle_is_served_unless_others_are_named(bundles):
    trained(bundles / "cyclegan/models", "model.pt", "model_to_source.pt")
    assert [bundle.name for bundle in served_bundles([])] == ["cyclegan"]
    assert [bundle.name for bundle in served_bundles(["pix2pix", "unit"])] == ["pix2pix", "unit"]


def test_without_a_trained_bundle_there_is_nothing_to_serve(bundles):
    with pytest.raises(InputError, match="no trained bundle"):
        served_bundles([])


def test_each_direction_that_was_trained_is_a_model(bundles):
    trained(bundles / "cyclegan/models", "model.pt", "model_to_source.pt")
    trained(bundles / "unit/models", "model.pt")
    trained(bundles / "pix2pix/models", "model.pt")
    two_way, one, unit = served_bundles(["cyclegan", "pix2pix", "unit"])
    assert models(two_way) == ["cyclegan", "cyclegan_to_source"]
    assert models(one) == ["pix2pix"]
    assert models(unit) == ["unit", "unit_to_source"]  # one network for both
    (bundles / "cyclegan/models/model_to_source.pt").unlink()
    assert models(two_way) == ["cyclegan"]


def test_a_bundle_of_one_modality_translates_nothing(bundles):
    trained(bundles / "pix2pix/models", "model.pt", target="T1")
    assert models(served_bundles(["pix2pix"])[0]) == []


def test_models_may_lie_elsewhere(bundles, tmp_path):
    trained(tmp_path / "weights", "model.pt")
    (bundle,) = served_bundles(["pix2pix=weights"])
    assert models(bundle) == ["pix2pix"]
    with pytest.raises(InputError, match="is no folder"):
        served_bundles(["pix2pix=nowhere"])


def test_names_that_cannot_be_served_are_told(bundles, tmp_path):
    (tmp_path / "sent.zip").touch()
    with pytest.raises(InputError, match="medtrans bundle unpack"):
        served_bundles(["sent.zip"])
    with pytest.raises(InputError, match=r"cyclegan, pix2pix, unit"):
        served_bundles(["pix3pix"])
    shutil.copytree(bundles / "pix2pix", tmp_path / "other/pix2pix")
    with pytest.raises(InputError, match="named twice"):
        served_bundles(["pix2pix", "other/pix2pix"])
    shutil.copytree(bundles / "pix2pix", tmp_path / "of Dr. X")
    with pytest.raises(InputError, match="cannot stand in an address"):
        served_bundles(["of Dr. X"])


def test_a_training_on_the_studies_is_seen_once_it_has_a_model(bundles, tmp_path):
    here = TrainedHere("pix2pix" + OF_STUDIES, bundles / "pix2pix", tmp_path / "training")
    assert models(here) == []
    trained(tmp_path / "training/abc/models", "model.pt")
    assert models(here) == []  # it has not ended
    (tmp_path / "training/latest.json").write_text('{"training": "abc"}')
    assert models(here) == ["pix2pix_studies"]


def test_what_is_served_travels_to_other_processes_as_json(bundles):
    (bundle,) = served_bundles(["pix2pix"], {"overlap": 0.5})
    assert ServedBundle.of_json(json.loads(json.dumps(bundle.to_json()))) == bundle
