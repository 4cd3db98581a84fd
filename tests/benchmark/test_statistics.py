"""Intervals and tests, against scipy called by hand, closed forms and definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medtrans.benchmark.statistics import RESAMPLES, holm, interval, paired, smallest_p

VALUES = np.array([0.71, 0.83, 0.64, 0.92, 0.77, 0.69, 0.88, 0.74])


def test_interval_is_scipys_bca_of_the_mean():
    expected = stats.bootstrap(
        (VALUES,), np.mean, n_resamples=RESAMPLES, method="BCa", random_state=np.random.default_rng(0)
    ).confidence_interval
    found = interval(VALUES)
    assert (found.mean, found.low, found.high) == pytest.approx((VALUES.mean(), expected.low, expected.high))


def test_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(3).normal(5.0, 2.0, 2000)
    half = 1.959964 * values.std(ddof=1) / math.sqrt(len(values))
    found = interval(values)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(7)
    found = [interval(random.normal(1.0, 1.0, 30)) for _ in range(150)]
    share = np.mean([one.low <= 1.0 <= one.high for one in found])
    assert 0.88 < share <= 1.0


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_interval_lies_within_the_values_and_holds_their_mean(values):
    found = interval(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_equal_values_have_an_interval_of_no_width_and_one_value_none():
    same = interval([0.5] * 6)
    assert (same.mean, same.low, same.high) == (0.5, 0.5, 0.5)
    one = interval([0.5])
    assert one.mean == 0.5
    assert math.isnan(one.low)
    assert math.isnan(interval([]).mean)


def test_infinite_values_are_left_out():
    assert interval([1.0, 2.0, math.inf, math.nan]).mean == 1.5


def signed_rank_p(differences):
    """Two-sided exact p by its definition: all 2^n signs are equally likely."""
    ranks = stats.rankdata(np.abs(differences))
    observed = abs(ranks[differences > 0].sum() - ranks[differences < 0].sum())
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((1, -1), repeat=len(ranks))]
    return np.mean(np.array(sums) >= observed - 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_p_is_the_exact_one_of_the_signed_rank_test(seed):
    random = np.random.default_rng(seed)
    row = {f"s{n}": float(value) for n, value in enumerate(random.normal(0.4, 1.0, 9))}
    baseline = dict.fromkeys(row, 0.0)
    found = paired(row, baseline, higher_is_better=True)
    values = np.array(list(row.values()))
    assert found.p == pytest.approx(signed_rank_p(values))
    assert found.p == pytest.approx(stats.wilcoxon(values).pvalue)
    assert found.better == (values > 0).sum()


def test_subjects_are_paired_by_name_and_those_without_a_finite_value_are_left_out():
    row = {"a": 2.0, "b": 3.0, "c": math.inf, "only here": 9.0, "d": 5.0}
    baseline = {"d": 4.0, "b": 1.0, "a": 3.0, "c": 1.0, "only there": 0.0}
    found = paired(row, baseline, higher_is_better=True)
    assert (found.subjects, found.better) == (3, 2)
    assert found.difference.mean == pytest.approx((-1 + 2 + 1) / 3)
    assert paired(row, baseline, higher_is_better=False).better == 1


def test_without_any_difference_there_is_no_p():
    assert math.isnan(paired({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0}, True).p)


def test_the_smallest_p_is_that_of_subjects_that_all_agree():
    for subjects in range(1, 9):
        row = {str(n): float(n + 1) for n in range(subjects)}
        assert smallest_p(subjects) == pytest.approx(paired(row, dict.fromkeys(row, 0.0), True).p)


def closed_testing(p_values):
    """Holm by the closure principle: the largest Bonferroni p of all sets of hypotheses that hold this one."""
    every = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in itertools.combinations(every, size)]
    local = {chosen: min(1.0, len(chosen) * min(p_values[i] for i in chosen)) for chosen in sets}
    return [max(p for chosen, p in local.items() if i in chosen) for i in every]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing_with_bonferroni(p_values):
    assert holm(p_values) == pytest.approx(closed_testing(p_values))


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
