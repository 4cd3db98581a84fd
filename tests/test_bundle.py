"""Misspelt keys of overlays and overrides are refused; what an overlay brings and what may grow is not."""

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from medtrans import InputError
from medtrans.bundle import check_keys

CONFIGS = Path(__file__).parents[1] / "bundles/medgan/configs"
TRAIN = str(CONFIGS / "train.json")


def overlay(tmp_path, content):
    (tmp_path / "mine.json").write_text(json.dumps(content))
    return [TRAIN, str(tmp_path / "mine.json")]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("max_epoch", "max_epochs"),
        ("losses#styl#weight", "style"),
        ("losses#style#wieght", "weight"),
        ("train#augmentatoin", "augmentation"),
        ("train::trainer::precison", "precision"),
        ("network_def::blocs", "blocks"),
    ],
)
def test_a_misspelt_override_is_refused_with_what_was_meant(key, meant):
    with pytest.raises(InputError, match=rf"train\.json.*Did you mean '{meant}'"):
        check_keys([TRAIN], {key: 1})


@pytest.mark.parametrize(
    "key",
    [
        "max_epochs",
        "losses#style#weight",
        "losses#l1",
        "train#trainer#max_epochs",
        "train::handlers::0::interval",
        "network_def#norm",
        "network_def#dropout",
        "validate#evaluator#val_handlers",
        "run",
    ],
)
def test_a_right_override_passes(key):
    check_keys([TRAIN], {key: 1})


@pytest.mark.parametrize(
    ("bundle", "key", "meant"),
    [
        ("medgan", "network_def#blcoks", "blocks"),
        ("medgan", "network_def::chanels", "channels"),
        ("unit", "network_def#atention", "attention"),
        ("unit", "network_def#recoded", "recorded"),
    ],
)
def test_a_misspelt_setting_of_the_network_at_inference_is_refused(bundle, key, meant):
    inference = str(CONFIGS.parents[1] / bundle / "configs/inference.json")
    with pytest.raises(InputError, match=rf"inference\.json \(network_def\).*Did you mean '{meant}'"):
        check_keys([inference], {key: 2})
    if key != "network_def#recoded":
        check_keys([inference], {f"network_def#{meant}": 2})


@pytest.mark.parametrize(
    "inference", sorted(CONFIGS.parents[1].glob("*/configs/inference.json")), ids=lambda file: file.parents[1].name
)
def test_what_a_shipped_network_is_given_it_also_takes(inference, tmp_path):
    settings = json.loads(inference.read_text())["network_def"]
    bare = {"network_def": {key: settings.pop(key) for key in ("_target_", "network")}}
    (tmp_path / "inference.json").write_text(json.dumps(bare))
    check_keys([str(tmp_path / "inference.json")], {f"network_def#{key}": value for key, value in settings.items()})
    for key in settings:
        with pytest.raises(InputError, match=f"has no key '{key}_'"):
            check_keys([str(tmp_path / "inference.json")], {f"network_def#{key}_": 1})


@pytest.mark.parametrize("network", ["elsewhere.Net", "@mine", None])
def test_settings_of_a_network_that_cannot_be_told_pass(network, tmp_path):
    content = {"network_def": {"_target_": "medtrans.recorded_network", "network": network}}
    (tmp_path / "inference.json").write_text(json.dumps(content))
    check_keys([str(tmp_path / "inference.json")], {"network_def#width": 3})


@pytest.mark.parametrize("content", [{"learning_rat": 1}, {"train::augmentatoin": []}, {"network_def::blocs": 2}])
def test_a_misspelt_key_of_an_overlay_is_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"mine\.json.*Did you mean"):
        check_keys(overlay(tmp_path, content), {})


def test_an_overlay_may_bring_a_value_that_it_refers_to(tmp_path):
    check_keys(overlay(tmp_path, {"patience": 3, "train::trainer::seed": "@patience"}), {"patience": 4})


def test_overrides_follow_the_component_that_an_overlay_put_in_the_place_of_another():
    files = [TRAIN, str(CONFIGS / "three_d.json")]
    check_keys(files, {"validate#inferer#overlap": 0.5, "train#augmentation#0#value": -1})
    with pytest.raises(InputError, match="Did you mean 'overlap'"):
        check_keys(files, {"validate#inferer#overlp": 0.5})


@pytest.mark.parametrize("name", ["quick.json", "three_d.json", "multi_gpu_train.json"])
def test_the_shipped_overlays_pass(name):
    check_keys([TRAIN, str(CONFIGS / name)], {})


def test_an_overlay_that_is_no_json_object_is_named(tmp_path):
    (tmp_path / "mine.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"mine\.json: is not a JSON object"):
        check_keys([TRAIN, str(tmp_path / "mine.json")], {})


@pytest.mark.parametrize("key", ["train::dataset::data", "train#dataset#data"])
def test_a_list_of_files_as_training_data_is_refused_before_the_contract_is_written(key):
    """As MONAI Label's own monaibundle app gives it."""
    parser = ConfigParser({"train": {"dataset": {"data": "$[]"}}, "check": "$medtrans.check_configuration()"})
    parser["imports"] = ["$import medtrans"]
    parser.get_parsed_content("check")
    parser.set([{"image": "one.nii", "label": "two.nii"}], key)
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("check", lazy=False)
    assert isinstance(raised.value.__cause__, InputError)
    assert "Give `dataset_dir`" in str(raised.value.__cause__)
