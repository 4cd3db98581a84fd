"""Pairs are prepared as the trained model's data were, or by a recipe whose way of finding files does not matter."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medtrans import InputError
from medtrans.cohorts import Cases, describe_modalities, prepare, write_phantom_cohort
from medtrans.cohorts.recipe import Recipe
from medtrans.label.pair_data import prepare_pairs
from medtrans.label.pair_recipe import given_recipe, trained_recipe
from medtrans.label.pairs import paired_cases

SAID = ("kind", "unit", "background", "intensity", "interpolation", "clamp")
RECIPE = {
    "modalities": {
        "T1": {
            "kind": "MR",
            "file": "{subject}/T1.nii",
            "intensity": {"_target_": "medtrans.transforms.PercentileWindow", "upper": 98.0, "body": "MR"},
        },
        "CT": {"kind": "CT", "file": "{subject}/CT.nii", "interpolation": "linear", "clamp": [-1024, 2000]},
        "MU": {
            "kind": "CT",
            "derived": {"from": "CT", "_target_": "medtrans.transforms.AttenuationMap"},
            "unit": "1/cm",
            "background": 0.0,
            "intensity": {"_target_": "medtrans.transforms.FixedWindow", "lower": 0.0, "upper": 0.2, "unit": "1/cm"},
        },
    },
    "reference": "T1",
    "spacing": [11, 11, 12],
    "size": [18, 20, None],
    "registration": {"rigid": "if_needed"},
    "mask": {"outside": "background"},
}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """Two heads with T1 and CT, a recipe, and the data set that it makes of them."""
    folder = tmp_path_factory.mktemp("hospital")
    write_phantom_cohort(folder / "heads", 2, ("T1", "CT"), 12.0)
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    prepare(folder / "recipe.json", folder / "heads", folder / "data_set", workers=1)
    return folder


@pytest.fixture(scope="module")
def pairs(hospital):
    heads = sorted((hospital / "heads").glob("head-*"))
    return [{"image": str(head / "T1.nii"), "label": str(head / "CT.nii")} for head in heads]


def written(recipe, folder):
    """The recipe as `medtrans prepare` reads it."""
    (folder / "recipe.json").write_text(json.dumps(recipe.record))
    return Recipe.read(folder / "recipe.json").record


def test_a_trained_model_says_what_its_recipe_said(hospital, tmp_path):
    contract = describe_modalities(hospital / "data_set", "T1", "CT")
    recipe = trained_recipe(hospital / "modalities.json", json.loads(json.dumps(contract)))
    assert (recipe.source, recipe.target) == ("T1", "CT")
    ours, theirs = written(recipe, tmp_path), Recipe.read(hospital / "recipe.json").record
    for key in ("spacing", "size", "registration", "grid", "reference", "mask"):
        assert ours[key] == theirs[key], key
    for name in ("T1", "CT"):
        assert {key: ours["modalities"][name][key] for key in SAID} == {
            key: theirs["modalities"][name][key] for key in SAID
        }


@pytest.mark.parametrize("by", ["model", "recipe"])
def test_pairs_become_the_voxels_that_the_original_recipe_makes(by, hospital, pairs, tmp_path):
    if by == "model":
        contract = describe_modalities(hospital / "data_set", "T1", "CT")
        recipe = trained_recipe(hospital / "modalities.json", json.loads(json.dumps(contract)))
    else:
        recipe = given_recipe(hospital / "recipe.json", [("T1", "CT")])
    data = prepare_pairs(paired_cases(pairs), recipe, tmp_path, 0.3, workers=1)
    assert (data.training_subjects, data.validation_subjects, data.failed) == (1, 1, [])

    def volumes(root):
        read = [[nibabel.load(case.volumes[name]).get_fdata() for name in ("T1", "CT")] for case in Cases.read(root)]
        windows = [case.windows["T1"].upper for case in Cases.read(root)]
        return sorted(
            (window, *(image.tobytes() for image in images)) for window, images in zip(windows, read, strict=True)
        )

    assert volumes(data.root) == volumes(hospital / "data_set")


def test_a_computed_target_is_computed_from_the_volume_of_the_pair(hospital, pairs, tmp_path):
    recipe = given_recipe(hospital / "recipe.json", [(None, None), ("T1", "MU")])
    assert (recipe.source, recipe.target) == ("T1", "MU")
    cases = list(Cases.read(prepare_pairs(paired_cases(pairs), recipe, tmp_path, 0.5, workers=1).root))
    assert sorted(case.split for case in cases) == ["train", "validation"]
    for case in cases:
        ct, mu = (nibabel.load(case.volumes[name]).get_fdata() for name in ("CT", "MU"))
        inside = np.isclose(ct, 0, atol=30)
        assert inside.any()
        np.testing.assert_allclose(mu[inside], 0.096, rtol=0.05)  # water at 511 keV, NIST: 0.0958 per cm


def test_the_two_modalities_of_a_recipe_are_source_and_target_in_its_order(hospital, root):
    recipe = given_recipe(hospital / "recipe.json", [(None, None), ("FLAIR", "T2")])
    assert (recipe.source, recipe.target) == ("T1", "CT")
    recipe = given_recipe(root / "data_prep/mr_ct.json", [("T1", "T2")])
    assert (recipe.source, recipe.target, recipe.record["reference"]) == ("MR", "CT", "CT")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (("CT", None), ("CT", "MR")),
        ((None, "MR"), ("CT", "MR")),
        (("MR", None), ("MR", "CT")),
        (("CT", "MR"), ("CT", "MR")),
    ],
)
def test_of_two_modalities_one_that_is_chosen_says_the_other(chosen, expected, root):
    recipe = given_recipe(root / "data_prep/mr_ct.json", [("T1", "T2")], chosen)
    assert (recipe.source, recipe.target) == expected


def test_one_that_is_chosen_decides_among_the_usual_pairs(root):
    recipe = given_recipe(root / "data_prep/ixi.json", [("T1", "T2"), ("PD", "T1")], ("PD", None))
    assert (recipe.source, recipe.target) == ("PD", "T1")


@pytest.mark.parametrize("chosen", [("PD", None), (None, "PD"), ("CT", None), ("T1", "CT"), ("T1", "T1")])
def test_what_is_chosen_is_never_passed_over(chosen, root):
    with pytest.raises(InputError, match=rf"beside the chosen .*'{chosen[1] or chosen[0]}'.*--config"):
        given_recipe(root / "data_prep/ixi.json", [("T1", "T2")], chosen)


def test_more_modalities_than_two_must_be_told_apart(root):
    with pytest.raises(InputError, match="which is the source"):
        given_recipe(root / "data_prep/brats_2023.json", [("CT", "PET"), ("T1", "T1")])
    recipe = given_recipe(root / "data_prep/brats_2023.json", [("FLAIR", "T1C")])
    assert set(recipe.record["modalities"]) == {"FLAIR", "T1C"}
    assert recipe.record["reference"] == "FLAIR"
    assert recipe.record["label"] is None


TWO = ("hcp", "ixi", "mr_ct", "mr_motion", "pet_ct", "pet_denoising", "synthrad_2025", "t1_t2")


@pytest.mark.parametrize("path", TWO)
def test_every_recipe_of_two_kinds_of_images_can_be_used(path, root, tmp_path):
    file = root / f"data_prep/{path}.json"
    read = Recipe.read(file)
    names = tuple(modality.name for modality in read.scanned)[:2]
    ours = written(given_recipe(file, [names]), tmp_path)["modalities"]
    for name in names:
        assert {key: ours[name][key] for key in SAID} == {key: read.record["modalities"][name][key] for key in SAID}


def test_a_recipe_of_one_modality_makes_no_pairs(root):
    with pytest.raises(InputError, match="which is the source"):
        given_recipe(root / "data_prep/t1.json", [("T1", "T1"), ("T1", None)])


def test_units_in_sidecars_are_held_against_the_recipe(hospital, pairs, tmp_path):
    studies = tmp_path / "studies"
    shutil.copytree(hospital / "heads", studies)
    moved = [{key: path.replace(str(hospital / "heads"), str(studies)) for key, path in pair.items()} for pair in pairs]
    for pair, unit in zip(moved, ("arbitrary", "Bq/ml"), strict=True):
        Path(pair["image"]).with_suffix(".json").write_text(json.dumps({"unit": unit}))
    with pytest.raises(InputError, match="T1 is in Bq/ml"):
        prepare_pairs(
            paired_cases(moved), given_recipe(hospital / "recipe.json", []), tmp_path / "work", 0.5, workers=1
        )


def test_a_model_of_several_sources_cannot_be_trained_on_pairs(hospital):
    entry = describe_modalities(hospital / "data_set", "T1", "CT")
    two = entry | {"source": entry["source"] * 2}
    same = entry | {"target": entry["source"]}
    for contract in (two, same, entry | {"target": []}):
        with pytest.raises(InputError, match="a pair of volumes is one source"):
            trained_recipe(hospital / "modalities.json", contract)


def test_kinds_are_told_by_units_where_a_model_does_not_say_them(hospital, tmp_path):
    contract = describe_modalities(hospital / "data_set", "T1", "CT")
    for entry in (*contract["source"], *contract["target"]):
        entry.pop("kind")
    recipe = trained_recipe(hospital / "modalities.json", contract)
    assert [written(recipe, tmp_path)["modalities"][name]["kind"] for name in ("T1", "CT")] == ["MR", "CT"]
