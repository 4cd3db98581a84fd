import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.cohorts.splits import SplitRule, record_splits, recorded_splits

names = st.sets(st.text("abcdefgh0123", min_size=1, max_size=5), min_size=1, max_size=60)
fractions = st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45))


@given(subjects=names, shares=fractions, seed=st.integers(0, 9))
def test_everyone_is_in_one_split_and_three_subjects_fill_all(subjects, shares, seed):
    splits = SplitRule(*shares, seed).assign(subjects)
    assert set(splits) == subjects
    assert set(splits.values()) <= {"train", "validation", "test"}
    if len(subjects) >= 3:
        assert set(splits.values()) == {"train", "validation", "test"}
    else:
        assert set(splits.values()) == {"train"}


@given(subjects=names, shares=fractions, seed=st.integers(0, 9))
def test_the_draw_depends_on_seed_and_names_alone(subjects, shares, seed):
    rule = SplitRule(*shares, seed)
    assert rule.assign(sorted(subjects)) == rule.assign(sorted(subjects, reverse=True))


def test_fractions_are_met_and_another_seed_draws_others():
    subjects = [f"s{i}" for i in range(100)]
    splits = SplitRule(0.1, 0.2, 0).assign(subjects)
    assert [list(splits.values()).count(s) for s in ("train", "validation", "test")] == [70, 10, 20]
    assert splits != SplitRule(0.1, 0.2, 1).assign(subjects)


@given(first=names, more=names)
def test_recorded_subjects_stay_when_others_come(first, more):
    rule = SplitRule(0.15, 0.25, 4)
    before = rule.assign(first)
    after = rule.assign(first | more, before)
    assert {subject: after[subject] for subject in first} == before


def test_new_subjects_fill_the_splits_that_lack_most():
    rule = SplitRule(0.2, 0.2)
    one = rule.assign(["a"])
    assert one == {"a": "train"}
    assert sorted(rule.assign(["a", "b", "c"], one).values()) == ["test", "train", "validation"]


def test_an_explicit_table_decides_alone(tmp_path):
    (tmp_path / "who.csv").write_text("subject,split\n001,test\n002,train\n")
    rule = SplitRule.of(tmp_path / "recipe.json", {"table": "who.csv"}, 0)
    assert rule.assign(["001", "002"]) == {"001": "test", "002": "train"}
    with pytest.raises(InputError, match="003: has no split"):
        rule.assign(["003"])


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"validation": 0.5, "test": 0.5}, "nobody to train"),
        ({"validation": -0.1}, "at least 0"),
        ({"train": 0.7}, "unknown key 'train'"),
        ({"subjects": {"a": "dev"}}, "'dev'"),
        ({"table": "absent.csv"}, "does not exist"),
    ],
)
def test_unusable_rules_are_refused(tmp_path, section, problem):
    with pytest.raises(InputError, match=problem):
        SplitRule.of(tmp_path / "recipe.json", section, 0)


def test_a_table_with_a_subject_in_two_splits_is_refused(tmp_path):
    (tmp_path / "who.csv").write_text("subject,split\na,test\na,train\n")
    with pytest.raises(InputError, match="into two splits"):
        SplitRule.of(tmp_path / "recipe.json", {"table": "who.csv"}, 0)


def test_the_record_counts_only_for_the_same_rule(tmp_path: Path):
    rule = SplitRule(0.1, 0.2, 7)
    assert recorded_splits(tmp_path, rule) == {}
    record_splits(tmp_path, rule, {"a": "train"})
    assert json.loads((tmp_path / "splits.json").read_text())["rule"]["seed"] == 7
    assert recorded_splits(tmp_path, rule) == {"a": "train"}
    assert recorded_splits(tmp_path, SplitRule(0.1, 0.2, 8)) == {}
