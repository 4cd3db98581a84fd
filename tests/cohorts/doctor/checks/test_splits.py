"""Subjects in two splits, empty splits and shares unlike the recipe's are told."""

import json


def test_a_subject_in_two_splits_is_an_error(planted, said):
    planted.table(subject={1: "head-0000"}, split={0: "train", 1: "test"})
    errors = said(planted.found("splits"), ("error",))
    assert errors == {(1, "", "subject in two splits")}


def test_subjects_spelt_alike_in_different_splits_are_told(planted):
    planted.table(subject={0: "sub-01", 1: "SUB_1"}, split={0: "train", 1: "test"})
    assert [f.what for f in planted.found("splits")].count("subjects spelt alike") == 1


def test_an_empty_split_is_told_and_without_training_it_is_an_error(planted, said):
    planted.table(split=dict.fromkeys(range(9), "test"))
    found = planted.found("splits")
    assert {(f.other, f.severity) for f in found if f.what == "empty split"} == {
        ("train", "error"), ("validation", "warning")
    }  # fmt: skip


def test_shares_far_from_the_recipe_are_told(planted):
    recipe = json.loads((planted.folder / "recipe.json").read_text())
    (planted.folder / "recipe.json").write_text(json.dumps(recipe | {"split": {"validation": 0.1, "test": 0.2}}))
    assert not planted.found("splits")
    planted.table(split=dict.fromkeys(range(1, 7), "test"))
    assert ("unexpected share", "test") in {(f.what, f.other) for f in planted.found("splits")}
