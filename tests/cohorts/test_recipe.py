import json
from pathlib import Path

import pytest

from medtrans import InputError
from medtrans.cohorts import Recipe
from medtrans.cohorts.recipe_file import override
from medtrans.transforms import FixedWindow, PercentileWindow

SHIPPED = sorted((Path(__file__).parents[2] / "data_prep").glob("*.json"))
MINIMAL = {
    "modalities": {"T1": {"kind": "MR", "file": "{subject}/T1.nii"}, "CT": {"kind": "CT", "file": "{subject}/CT.nii"}},
    "reference": "T1",
}


def written(folder, recipe):
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    return path


def test_recipes_are_shipped():
    names = {path.stem for path in SHIPPED}
    assert names >= {"t1_t2", "pet_ct", "mr_ct", "mr_motion", "pet_denoising", "ixi", "hcp", "kirby21"}
    assert names >= {"brats_2021", "brats_2023", "synthrad_2023", "synthrad_2025"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_its_record_is_a_recipe_again(path, tmp_path):
    recipe = Recipe.read(path)
    again = Recipe.read(written(tmp_path, recipe.record))
    assert again == recipe
    for entry in recipe.record["modalities"].values():
        assert {"intensity", "background", "unit"} <= set(entry)


def test_a_minimal_recipe_takes_the_defaults_of_each_kind(tmp_path):
    recipe = Recipe.read(written(tmp_path, MINIMAL))
    assert recipe.spacing == (1.0, 1.0, 1.0)
    assert recipe.size == (256, 256, None)
    assert recipe.modalities["T1"].window == PercentileWindow(upper=99.5, body="MR")
    assert recipe.modalities["CT"].window == FixedWindow(-1024.0, 2000.0, "HU")
    assert recipe.modalities["CT"].background == recipe.modalities["CT"].clamp[0] == -1024.0
    assert recipe.registration.rigid == "if_needed"


def test_overrides_reach_any_value_even_one_that_the_file_leaves_out(tmp_path):
    overrides = dict(map(override, ["size#2=128", "registration#rigid=true", "modalities#CT#intensity#upper=1500",
                                    "grid#centre=field of view"]))  # fmt: skip
    start = json.loads(json.dumps(MINIMAL)) | {"size": [256, 256, None]}
    start["modalities"]["CT"]["intensity"] = {"_target_": "medtrans.transforms.FixedWindow", "lower": -1024, "upper": 9}
    recipe = Recipe.read(written(tmp_path, start), overrides, seed=5)
    assert recipe.size == (256, 256, 128)
    assert recipe.registration.rigid is True
    assert recipe.modalities["CT"].window.upper == 1500
    assert recipe.record["modalities"]["CT"]["intensity"]["upper"] == 1500
    assert recipe.centre == "field of view"
    assert recipe.seed == recipe.record["seed"] == recipe.split.seed == 5


PERCENTILES = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.0}


@pytest.mark.parametrize("unit", ["SUV", "Bq/ml"])
def test_a_rule_that_names_no_unit_has_that_of_the_modality_in_the_record_too(tmp_path, unit):
    modalities = {"PET": {"kind": "PET", "file": "{subject}/PET.nii", "unit": unit, "intensity": PERCENTILES}}
    path = written(tmp_path, {"modalities": MINIMAL["modalities"] | modalities, "reference": "T1"})
    recipe = Recipe.read(path)
    assert recipe.modalities["PET"].window == PercentileWindow(upper=99.0, unit=unit)
    assert recipe.record["modalities"]["PET"]["intensity"] == PERCENTILES | {"unit": unit}
    assert recipe.modalities["T1"].window == PercentileWindow(upper=99.5, body="MR")  # arbitrary: nothing to write
    assert "unit" not in recipe.record["modalities"]["T1"]["intensity"]
    free = Recipe.read(path, {"modalities#PET#unit": None})
    assert free.modalities["PET"].window == PercentileWindow(upper=99.0)


def test_a_part_of_a_default_can_be_overridden(tmp_path):
    overrides = {"size#2": 160, "modalities#CT#intensity#upper": 1500, "modalities#CT#series#modality": "^CT$",
                 "label#file": "{subject}/seg.nii"}  # fmt: skip
    recipe = Recipe.read(written(tmp_path, MINIMAL), overrides)
    assert recipe.size == (256, 256, 160)
    assert recipe.modalities["CT"].window == FixedWindow(-1024.0, 1500, "HU")
    assert recipe.modalities["CT"].series == {"modality": "^CT$"}
    assert recipe.label is not None
    assert Recipe.read(written(tmp_path, MINIMAL)).size == (256, 256, None)


MU = {
    "kind": "CT", "unit": "1/cm", "background": 0.0,
    "derived": {"from": "CT", "_target_": "medtrans.transforms.AttenuationMap", "kvp": 100},
    "intensity": {"_target_": "medtrans.transforms.FixedWindow", "lower": 0.0, "upper": 0.2, "unit": "1/cm"},
}  # fmt: skip


def test_a_derived_modality_is_no_scanned_one(tmp_path):
    recipe = Recipe.read(written(tmp_path, MINIMAL), {"modalities#MU": MU, "modalities#MU#derived#kvp": 140})
    assert [modality.name for modality in recipe.scanned] == ["T1", "CT"]
    derived = recipe.modalities["MU"].derived
    assert derived is not None
    assert (derived.source, derived.transform.kvp) == ("CT", 140)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"modalities#MU#derived#from": "PET"}, "is 'PET', not a modality"),
        ({"modalities#MU#derived#from": "MU"}, "derived itself"),
        ({"modalities#MU#derived": {"from": "CT"}}, "Write"),
        ({"modalities#MU#derived#kvp": 90}, "80, 100, 110, 120, 130, 140 kV"),
        ({"modalities#MU#derived#_target_": "medtrans.transforms.Nothing"}, "cannot be built"),
        ({"modalities#MU#file": "{subject}/MU.nii"}, "beside"),
        ({"reference": "MU"}, "Take 'CT'"),
        ({"modalities#MU#unit": "HU"}, "Use one unit"),
    ],
)
def test_a_derived_modality_that_cannot_be_made_is_refused(tmp_path, changes, problem):
    with pytest.raises(InputError, match=r"recipe\.json") as caught:
        Recipe.read(written(tmp_path, MINIMAL), {"modalities#MU": MU} | changes)
    assert problem in str(caught.value)


def test_references_and_expressions_are_resolved_in_the_record(tmp_path):
    recipe = json.loads(json.dumps(MINIMAL)) | {"_air": -1000, "size": "$[192] * 2 + [None]"}
    recipe["modalities"]["CT"] |= {"background": "@_air", "clamp": ["@_air", 3000]}
    read = Recipe.read(written(tmp_path, recipe))
    assert read.modalities["CT"].clamp == (-1000, 3000)
    assert read.record["size"] == [192, 192, None]
    assert "_air" not in read.record
    json.dumps(read.record)


def test_what_does_not_change_a_case_does_not_make_it_new(tmp_path):
    one = Recipe.read(written(tmp_path, MINIMAL))
    other_split = Recipe.read(written(tmp_path, MINIMAL | {"title": "x", "split": {"test": 0.4}}))
    other_size = Recipe.read(written(tmp_path, MINIMAL | {"size": [64, 64, None]}))
    assert one.for_one_case() == other_split.for_one_case()
    assert one.for_one_case() != other_size.for_one_case()


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("sise", [1, 2, 3], "unknown key 'sise'. Did you mean size"),
        ("modalities#T1#kind", "US", "'US'"),
        ("modalities#T1#interpolaton", "linear", "Did you mean interpolation"),
        ("modalities#T1#interpolation", "sinc", "linear, cubic, nearest"),
        ("modalities#T1#file", "T1.nii", "does not say {subject}"),
        ("modalities#T1#file", None, "neither"),
        ("modalities#T1#series", {"modality": "("}, "no regular expression"),
        ("modalities#T1#background", "air", "not a number"),
        ("modalities#T1#clamp", [1], "lower, upper"),
        ("modalities#T1#choose", "best", "'best'"),
        ("modalities#CT#unit", "SUV", "is in HU, the modality in SUV"),
        ("modalities#CT#intensity", {"_target_": "medtrans.transforms.Nothing"}, "cannot be evaluated"),
        ("modalities#CT#intensity", {"lower": 3}, "no intensity rule"),
        ("reference", "T2", "not a modality"),
        ("spacing", [1, 1], "3 numbers"),
        ("spacing", [1, 1, 0], "above 0"),
        ("size", [256, 256], "three numbers"),
        ("size", [256, 2.5, None], "whole"),
        ("grid#centre", "heart", "'heart'"),
        ("registration#rigid", "maybe", "if_needed"),
        ("registration#sampling", 1.5, "at most 1"),
        ("mask#modality", "T3", "not a modality"),
        ("seed", -1, "at least 0"),
        ("label", {"file": "{subject}/seg.nii", "like": "T9"}, "not a modality"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(tmp_path, key, value, problem):
    with pytest.raises(InputError, match=r"recipe\.json") as caught:
        Recipe.read(written(tmp_path, json.loads(json.dumps(MINIMAL))), {key: value})
    assert problem in str(caught.value)


def test_files_that_are_no_recipe_are_refused(tmp_path):
    (tmp_path / "broken.json").write_text("{,}")
    (tmp_path / "other.json").write_text("{}")
    for name, problem in (
        ("absent.json", "does not exist"),
        ("broken.json", "not a readable"),
        ("other.json", "missing"),
    ):
        with pytest.raises(InputError, match=problem):
            Recipe.read(tmp_path / name)


def test_overrides_are_json_or_text():
    assert override("a#b=[1, null]") == ("a#b", [1, None])
    assert override("a=field of view") == ("a", "field of view")
    assert override("a=b=c") == ("a", "b=c")
    with pytest.raises(InputError, match="key=value"):
        override("size")
