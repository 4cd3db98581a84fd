"""Tables from known values: means over subjects, tests against the baseline, costs, the order of the data."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medtrans import metrics
from medtrans.benchmark.results import (
    SOURCE,
    generator_parameters,
    given,
    run_table,
    same_images,
    subject_table,
    summary_table,
)
from medtrans.benchmark.tables import cost_rows, interval_lines, p_text, published_rows, table_of, value_lines

METRICS = metrics.create(["ssim", "mae"])


@pytest.fixture
def compared(study_of, run_of, finished, numbers):
    """Three rows of ten subjects: the baseline, one that is better in every subject, one that is the same."""
    study = study_of("base", "better", "same")
    runs = [run_of(row) for row in study.rows]
    for run, offset in zip(runs, (0.0, 0.1, 0.0), strict=True):
        finished(run, numbers(offset), numbers(-0.3))
    return study, runs


def line(summary, row, metric="ssim"):
    found = summary[(summary["row"] == row) & (summary["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]


def test_mean_and_sd_are_those_of_the_subjects(compared, numbers):
    study, runs = compared
    summary = summary_table(subject_table(runs), study, METRICS)
    values = np.array([value["ssim"] for value in numbers(0.1).values()])
    found = line(summary, "better")
    assert (found["mean"], found["sd"]) == pytest.approx((values.mean(), values.std(ddof=1)))
    assert (found["subjects"], found["seeds"]) == (10, 1)
    expected = stats.bootstrap((values,), np.mean, random_state=np.random.default_rng(0)).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_rows_are_tested_against_the_baseline_subject_by_subject(compared):
    study, runs = compared
    summary = summary_table(subject_table(runs), study, METRICS)
    better, same = line(summary, "better"), line(summary, "same")
    assert (better["better"], better["compared"]) == (10, 10)
    assert better["difference"] == pytest.approx(0.1)
    assert better["p"] == pytest.approx(2 / 2**10)
    assert better["p_holm"] == better["p"]  # the only method tested: the other never differs, the source is none
    assert np.isnan(same["p"])
    assert np.isnan(line(summary, "base")["p"])
    assert line(summary, "better", "mae")["better"] == 10  # lower is better


def test_p_is_corrected_over_the_methods(study_of, run_of, finished, numbers):
    study = study_of("base", "a", "b", "c")
    runs = [run_of(row) for row in study.rows]
    for run, offset in zip(runs, (0.0, 0.1, 0.2, -0.1), strict=True):
        finished(run, numbers(offset), numbers(-0.3))
    summary = summary_table(subject_table(runs), study, METRICS)
    assert [line(summary, name)["p_holm"] for name in "abc"] == pytest.approx([3 * 2 / 2**10] * 3)
    assert line(summary, SOURCE)["p_holm"] == pytest.approx(2 / 2**10)


def test_the_untranslated_source_is_a_row_like_any_other(compared, numbers):
    study, runs = compared
    summary = summary_table(subject_table(runs), study, METRICS)
    values = [value["ssim"] for value in numbers(-0.3).values()]
    assert line(summary, SOURCE)["mean"] == pytest.approx(np.mean(values))
    assert line(summary, SOURCE)["better"] == 0
    assert list(dict.fromkeys(summary["row"])) == [SOURCE, "base", "better", "same"]


def test_several_scans_of_a_subject_count_once(run_of, study_of, finished):
    study = study_of("a")
    run = run_of(study.rows[0])
    finished(run, {"s": {"ssim": 0.2}})
    path = run.folder / "evaluation/metrics.csv"
    table = pd.read_csv(path)
    pd.concat([table, table.assign(case="s-2", ssim=0.8), table.assign(case="t-1", subject="t", ssim=0.6)]).to_csv(path)
    found = line(summary_table(subject_table([run]), study, METRICS), "a")
    assert (found["mean"], found["subjects"]) == (pytest.approx((0.5 + 0.6) / 2), 2)


def test_seeds_are_averaged_subject_by_subject_and_their_spread_is_told(run_of, study_of, finished):
    study = study_of("a")
    runs = [run_of(study.rows[0], seed) for seed in (0, 1, 2)]
    for run, shift in zip(runs, (0.0, 0.1, 0.2), strict=True):
        finished(run, {"s": {"ssim": 0.5 + shift}, "t": {"ssim": 0.7 + shift}})
    found = line(summary_table(subject_table(runs), study, METRICS), "a")
    assert (found["mean"], found["sd"]) == pytest.approx((0.7, np.std([0.6, 0.8], ddof=1)))
    assert (found["seeds"], found["seed_sd"]) == (3, pytest.approx(0.1))


def test_people_see_the_best_in_bold_and_what_is_significant(compared):
    study, runs = compared
    summary = summary_table(subject_table(runs), study, METRICS)
    table = table_of(summary, study, METRICS, "HU", {})
    text = "\n".join(value_lines(table))
    assert "MAE [HU] ↓" in text
    rows = {part.split("|")[1].strip(): part for part in text.splitlines()}
    assert rows["better"].count("**") == 4
    assert rows["better"].count("▲") == 2
    assert "▼" in rows[SOURCE]
    assert "▲" not in rows["same"]
    assert "better in 10 of 10, p 0.002" in "\n".join(interval_lines(table))


def test_a_failed_row_is_in_the_table_with_nothing_but_its_failure(compared, run_of):
    study, runs = compared
    broken = run_of(study.rows[1].__class__("broken", study.rows[1].bundle), 0)
    broken.folder.mkdir(parents=True)
    broken.fail("ran out of memory")
    study = type(study)("s", "S", (*study.rows, broken.row), "base")
    summary = summary_table(subject_table([*runs, broken]), study, METRICS)
    table = table_of(summary, study, METRICS, "", {"broken": "ran out of memory"})
    assert any("broken" in text and "failed" in text for text in value_lines(table))
    lines = run_table([*runs, broken], broken.folder.parents[1]).set_index("row")
    assert lines.loc["broken", ["status", "reason"]].tolist() == ["failed", "ran out of memory"]
    assert lines.loc["base", "folder"] == "runs/base-0"


def test_costs_tell_size_updates_time_and_memory(compared):
    _, runs = compared
    row = cost_rows(run_table(runs, runs[0].folder.parents[1]))[0]
    assert row == ["base", "3 M", "2", "6", "0.25", "1.5 min", "0.01", "512 MiB", "–"]


def test_published_values_stand_beside(study_of):
    from dataclasses import replace

    study = study_of("a", "b")
    rows = (replace(study.rows[0], published={"ssim": 0.9, "unknown": 1}), study.rows[1])
    assert published_rows(replace(study, rows=rows), METRICS) == (["", "SSIM ↑"], [["a", "0.9"]])


def test_the_same_images_in_the_same_order_are_told_from_others(run_of, study_of, finished, numbers):
    runs = [run_of(row) for row in study_of("a", "b", "c").rows]
    for run, items in zip(runs, ("aa bb", "aa bb", "bb aa"), strict=True):
        finished(run, numbers(0), items=items)
    assert given(runs[0]) == ["aa", "bb", "aa", "bb"]
    assert same_images(runs[:2]).startswith("every row was given the same images")
    assert "first 4" in same_images(runs[:2])
    assert same_images(runs) == "not the same for every row: c (another image size, range or augmentation)"


def test_p_is_written_as_people_do():
    assert [p_text(p) for p in (0.0314, 1.0, 0.0002, float("nan"))] == ["0.031", "1.000", "< 0.001", "–"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"generator": 3, "discriminator": 5}, 3),
        ({"generator_to_target": 3, "generator_to_source": 4, "discriminator_of_target": 5}, 3),
        ({"one": 3, "other": 4}, 7),
        ({}, None),
    ],
)
def test_the_generator_that_translates_source_to_target_is_the_one_counted(parameters, expected):
    assert generator_parameters(parameters) == expected
