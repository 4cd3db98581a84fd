import json

import nibabel
import numpy as np
import pytest

from medtrans import InputError
from medtrans.cohorts import Case, Cases, describe_modalities, read_modalities, write_modalities
from medtrans.transforms import Window

RECIPE = {
    "spacing": [1.0, 1.0, 1.5],
    "size": [256, 256, None],
    "mask": {"modality": "CT", "outside": "background"},
    "modalities": {
        "T1": {"intensity": {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5}, "background": 0.0},
        "CT": {
            "intensity": {"_target_": "medtrans.transforms.FixedWindow", "lower": -1024, "upper": 2000, "unit": "HU"},
            "background": -1024.0,
            "kind": "CT",
            "interpolation": "cubic",
            "clamp": [-1024.0, 3071.0],
        },
    },
}


@pytest.fixture
def data_set(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / "a.nii")
    cases = []
    for i, (split, upper) in enumerate([("train", 100), ("train", 300), ("train", 250), ("test", 9999)]):
        windows = {"T1": Window(0, upper), "CT": Window(-1024, 2000, "HU")}
        cases.append(Case(f"c{i}", f"c{i}", split, dict.fromkeys(windows, tmp_path / "a.nii"), windows))
    Cases(tmp_path, tuple(cases)).write()
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    return tmp_path


def test_the_contract_says_rule_unit_background_and_the_median_training_window(data_set):
    description = describe_modalities(data_set, "T1", ["CT"])
    assert description == {
        "format": 1,
        "spacing": [1.0, 1.0, 1.5],
        "size": [256, 256, None],
        "outside": "background",
        "source": [
            {
                "modality": "T1",
                "unit": "",
                "background": 0.0,
                "intensity": RECIPE["modalities"]["T1"]["intensity"],
                "window": [0.0, 250.0, ""],
                "subjects": {"train": 3, "validation": 0, "test": 1},
            }
        ],
        "target": [
            {
                "modality": "CT",
                "unit": "HU",
                "background": -1024.0,
                "intensity": RECIPE["modalities"]["CT"]["intensity"],
                "window": [-1024.0, 2000.0, "HU"],
                "subjects": {"train": 3, "validation": 0, "test": 1},
                "kind": "CT",
                "interpolation": "cubic",
                "clamp": [-1024.0, 3071.0],
            }
        ],
    }


def test_windows_that_name_no_unit_are_in_the_recipes(data_set):
    recipe = json.loads(json.dumps(RECIPE))
    recipe["modalities"]["T1"]["unit"] = "SUV"
    (data_set / "recipe.json").write_text(json.dumps(recipe))
    (entry,) = describe_modalities(data_set, "T1", "CT")["source"]
    assert (entry["unit"], entry["window"]) == ("SUV", [0.0, 250.0, "SUV"])


def test_it_survives_the_disk(data_set):
    description = describe_modalities(data_set, ["T1", "CT"], "CT")
    path = write_modalities(description, data_set / "models" / "modalities.json")
    assert read_modalities(path) == description


def test_an_untrained_bundle_is_told_to_train(tmp_path):
    with pytest.raises(InputError, match="Train the bundle first"):
        read_modalities(tmp_path / "modalities.json")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"format": 2, "spacing": [1, 1, 1], "source": [], "target": []}']
)
def test_a_file_that_describes_nothing_is_refused(tmp_path, content):
    path = tmp_path / "modalities.json"
    path.write_text(content)
    with pytest.raises(InputError, match=str(path)):
        read_modalities(path)


def test_what_the_data_set_does_not_say_is_refused(data_set):
    with pytest.raises(InputError, match="has no modality 'PET'"):
        describe_modalities(data_set, "PET", "CT")
    (data_set / "recipe.json").write_text(json.dumps({"spacing": [1, 1, 1], "modalities": {"CT": {"background": 0}}}))
    with pytest.raises(InputError, match="no intensity rule"):
        describe_modalities(data_set, "CT", "CT")
    (data_set / "recipe.json").write_text("{}")
    with pytest.raises(InputError, match="no spacing"):
        describe_modalities(data_set, "T1", "CT")
    (data_set / "recipe.json").unlink()
    with pytest.raises(InputError, match="medtrans prepare"):
        describe_modalities(data_set, "T1", "CT")
