"""What a file of a training describes is built without running what somebody else wrote into it."""

import pytest

from medtrans import InputError, recorded_network
from medtrans.cohorts.modalities import read_modalities, write_modalities
from medtrans.described_component import refuse_code, refuse_no_network

RULE = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5}
LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2}


def canary(path):
    """An expression that would make a file."""
    return f"$open({str(path)!r}, 'w').close()"


@pytest.mark.parametrize("place", ["argument", "list", "nested", "reference", "library"])
def test_expressions_and_pythons_own_library_are_refused(place, tmp_path):
    code = canary(tmp_path / "ran")
    component = {
        "argument": {**RULE, "upper": code},
        "list": {**RULE, "upper": [1, code]},
        "nested": {**RULE, "upper": {"_target_": "medtrans.transforms.FixedWindow", "lower": code}},
        "reference": {**RULE, "upper": "@network_def"},
        "library": {"_target_": "subprocess.run", "args": ["true"]},
    }[place]
    with pytest.raises(InputError, match=r"modalities\.json: (holds an expression|calls subprocess\.run)"):
        refuse_code(component, "modalities.json")
    assert not (tmp_path / "ran").exists()


def test_values_pass():
    refuse_code({**RULE, "unit": "HU", "more": [1, None, {"a": True}]}, "modalities.json")
    refuse_no_network(LINEAR, "modalities.json")
    refuse_no_network({"_target_": "UNet", "spatial_dims": 2, "act": {"_target_": "torch.nn.ReLU"}}, "modalities.json")
    refuse_no_network({"_target_": "torchvision.models.resnet18", "weights": None}, "modalities.json")


@pytest.mark.parametrize(
    "target", ["torch.hub.load", "medtrans.bundle_configs.main", "torch.Generator", "monai.bundle.run"]
)
def test_what_makes_no_network_is_refused_as_one(target):
    with pytest.raises(InputError, match=f"says that {target} is a network"):
        refuse_no_network({"_target_": target}, "modalities.json")
    with pytest.raises(InputError, match="says that"):
        refuse_no_network({**LINEAR, "bias": {"_target_": target}}, "modalities.json")


def test_a_recorded_network_with_code_in_it_is_not_built(tmp_path):
    with pytest.raises(InputError, match=r"models/modalities\.json: holds an expression"):
        recorded_network({**LINEAR, "in_features": canary(tmp_path / "ran")}, "torch.nn.Linear")
    assert not (tmp_path / "ran").exists()
    assert recorded_network(LINEAR, "torch.nn.Linear").in_features == 2


def test_modalities_with_code_in_a_rule_are_not_read(tmp_path):
    entry = {"modality": "T1", "unit": "", "background": 0.0, "intensity": RULE, "window": [0.0, 1.0, ""]}
    description = {"format": 1, "spacing": [1.0, 1.0, 1.0], "source": [entry], "target": [entry]}
    path = write_modalities(description, tmp_path / "modalities.json")
    assert read_modalities(path)["source"] == [entry]
    entry["intensity"] = {**RULE, "upper": canary(tmp_path / "ran")}
    write_modalities(description, path)
    with pytest.raises(InputError, match="holds an expression"):
        read_modalities(path)
    assert not (tmp_path / "ran").exists()
