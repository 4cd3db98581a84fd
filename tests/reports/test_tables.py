from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtrans import metrics
from medtrans.reports.measuring import Measured
from medtrans.reports.pairing import Pair
from medtrans.reports.tables import Spread, case_table, headline_table, number, summary_table, write_table

CHOSEN = metrics.create(["psnr", "mae"])


def measured(case: str, synthetic: tuple[float, float], source: tuple[float, float]) -> Measured:
    pair = Pair(case, None, Path("x"), (-1000.0, 2000.0), unit="HU")
    result = Measured(pair)
    for image, (psnr, mae) in (("source", source), ("synthetic", synthetic)):
        row = {"case": case, "subject": "", "region": "mask", "image": image}
        result.volume.append(row | {"psnr": psnr, "mae": mae})
        result.slices += [row | {"slice": k, "psnr": psnr + k, "mae": mae} for k in (-1, 1)]
    return result


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.9, 0.8, 0.7], "0.8000 ± 0.1000"),
        ([24.0, 26.0], "25.00 ± 1.41"),
        ([24.0, 26.0, math.inf], "25.00 ± 1.41 (1 infinite left out)"),
        ([math.inf, math.inf], "∞"),
        ([math.nan], "–"),
        ([1.0, math.nan], "1.000 (1 undefined left out)"),
        ([264.6, 264.6], "264.6 ± 0.0"),
        ([40000.0, 50000.0], "45000 ± 7071"),
        ([-0.5], "−0.5000"),
    ],
)
def test_a_spread_shows_four_digits_and_what_it_leaves_out(values, text):
    assert str(Spread.of(values)) == text


def test_the_spread_is_numpys():
    values = np.random.default_rng(0).normal(size=20)
    spread = Spread.of(values)
    assert (spread.mean, spread.sd, spread.count) == (
        pytest.approx(values.mean()),
        pytest.approx(values.std(ddof=1)),
        20,
    )


def test_numbers_are_readable():
    assert [number(value) for value in (0.0, 12.345, 1e-5, math.inf, math.nan)] == [
        "0.000",
        "12.35",
        "0.00001000",
        "∞",
        "–",
    ]


def test_the_case_table_has_volumes_and_the_means_over_slices_with_the_synthetic_image_first():
    table = case_table([measured("b", (20, 50), (10, 90)), measured("a", (22, 40), (11, 80))], CHOSEN)
    assert list(table["case"].unique()) == ["b", "a"]
    assert list(table["image"]) == ["synthetic", "source"] * 4
    b = table[(table["case"] == "b") & (table["image"] == "synthetic")].set_index("level")
    assert b.loc["slice", "psnr"] == 20
    assert b.loc["slice", "slices"] == 2
    assert pd.isna(b.loc["volume", "slices"])
    assert (table[["unit", "lower", "upper"]].drop_duplicates().values.tolist()) == [["HU", -1000, 2000]]


def test_one_infinite_slice_does_not_swallow_the_case():
    case = measured("a", (20, 50), (10, 90))
    case.slices[-1]["psnr"] = math.inf
    table = case_table([case], CHOSEN)
    chosen = table[(table["level"] == "slice") & (table["image"] == "synthetic")]
    assert chosen["psnr"].item() == 19


def test_the_summary_counts_in_how_many_cases_the_synthetic_image_is_better():
    cases = case_table([measured("a", (20, 50), (10, 60)), measured("b", (30, 30), (11, 80))], CHOSEN)
    summary = summary_table(cases, CHOSEN)
    row = summary[(summary["level"] == "volume") & (summary["image"] == "synthetic")].set_index("metric")
    assert (row.loc["psnr", "mean"], row.loc["psnr", "sd"]) == (25, pytest.approx(math.sqrt(50)))
    assert (row.loc["psnr", "better"], row.loc["psnr", "compared"]) == (2, 2)
    assert row.loc["mae", "better"] == 2
    shown = headline_table(summary, CHOSEN, "volume", "mask", "HU")
    assert shown[1] == {
        "metric": "MAE [HU] ↓",
        "synthetic": "40.00 ± 14.14",
        "source": "70.00 ± 14.14",
        "better": "2 of 2",
    }
    assert headline_table(summary, CHOSEN, "volume", "whole", "HU") == []


def test_tables_read_back_as_written(tmp_path):
    table = pd.DataFrame({"case": ["a", "b"], "psnr": [math.inf, math.nan]})
    text = write_table(table, tmp_path / "t.csv").read_text()
    assert text == "case,psnr\na,inf\nb,\n"
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv", dtype={"case": object}), table, check_dtype=False)
