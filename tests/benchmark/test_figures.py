"""Figures show what the tables say; the detail of the pictures is where the methods err most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans import metrics
from medtrans.benchmark.figures import curve_figure, intervals_figure, write_png
from medtrans.benchmark.pictures import worst_part
from medtrans.benchmark.results import subject_table, summary_table

METRICS = metrics.create(["ssim", "psnr", "mae"])


@pytest.fixture
def tables(study_of, run_of, finished, numbers):
    study = study_of("one", "two", "three", axis="blocks")
    runs = [run_of(row) for row in study.rows]
    for run, offset in zip(runs, (0.0, 0.1, 0.15), strict=True):
        finished(run, numbers(offset), numbers(-0.3))
    subjects = subject_table(runs)
    return study, subjects, summary_table(subjects, study, METRICS)


def test_a_panel_a_measured_metric_with_every_row_by_name(tables):
    study, subjects, summary = tables
    panels = [axes for axes in intervals_figure(subjects, summary, study, METRICS).axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["SSIM ↑", "MAE ↓"]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["untranslated source", "one", "two", "three"]


def test_the_curve_shows_mean_and_interval_at_every_place(tables):
    study, subjects, summary = tables
    (axes,) = curve_figure(subjects, summary, study, METRICS[:1]).axes
    lines = summary[summary["metric"] == "ssim"].set_index("row").loc[["one", "two", "three"]]
    line, _, (arms,) = axes.containers[0]
    assert line.get_xydata()[:, 0].tolist() == [0, 1, 2]
    assert line.get_ydata() == pytest.approx(lines["mean"].to_numpy())
    ends = np.array([segment[:, 1] for segment in arms.get_segments()])
    assert ends == pytest.approx(lines[["low", "high"]].to_numpy())
    assert axes.get_xlabel() == "blocks"


def test_a_study_without_an_axis_has_no_curve(tables, study_of):
    _, subjects, summary = tables
    assert curve_figure(subjects, summary, study_of("one", "two"), METRICS) is None


@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.4, 1.0]))
def test_the_detail_is_where_the_difference_is_largest(seed, share):
    images = np.random.default_rng(seed).normal(size=(2, 13, 9))
    rows, columns = worst_part(images, share)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert (height, width) == (max(1, round(share * 13)), max(1, round(share * 9)))
    total = np.abs(images).mean(0)
    every = [total[y : y + height, x : x + width].sum() for y in range(13 - height + 1) for x in range(9 - width + 1)]
    assert total[rows, columns].sum() == pytest.approx(max(every))


def test_figures_are_written_with_a_palette(tables, tmp_path):
    from PIL import Image

    study, subjects, summary = tables
    path = write_png(intervals_figure(subjects, summary, study, METRICS), tmp_path / "figures" / "a.png")
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert min(picture.size) > 100
