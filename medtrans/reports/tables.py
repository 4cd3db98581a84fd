"""From measured cases to tables: a row per case, a row per slice, and mean ± SD over the cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrans.files import written_whole
from medtrans.metrics import ImageMetric
from medtrans.reports.measuring import Measured

KEYS = ["case", "subject", "level", "region", "image"]
LEVELS = {"slice": "per slice", "volume": "per volume"}
REGIONS = {"mask": "inside the body mask", "whole": "whole image"}


@dataclass(frozen=True)
class Spread:
    """Mean and SD of the finite values, and how many values were not.

    Args:
        mean: of the finite values; NaN when there is none.
        sd: sample standard deviation (n - 1); NaN for fewer than two.
        count: finite values.
        infinite: infinite values (the PSNR of identical images).
        undefined: NaN.
    """

    mean: float
    sd: float
    count: int
    infinite: int
    undefined: int

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray | pd.Series) -> Spread:
        """Summarise ``values``."""
        array = np.asarray(values, dtype=float)
        finite = array[np.isfinite(array)]
        return cls(
            mean=float(finite.mean()) if len(finite) else math.nan,
            sd=float(finite.std(ddof=1)) if len(finite) > 1 else math.nan,
            count=len(finite),
            infinite=int(np.isinf(array).sum()),
            undefined=int(np.isnan(array).sum()),
        )

    def __str__(self) -> str:
        """``24.62 ± 1.05``, and in brackets what the mean leaves out."""
        if not self.count:
            return "∞" if self.infinite else "–"
        decimals = decimals_for(self.mean)
        text = number(self.mean, decimals) + (f" ± {number(self.sd, decimals)}" if self.count > 1 else "")
        left_out = [f"{n} {what}" for n, what in ((self.infinite, "infinite"), (self.undefined, "undefined")) if n]
        return text + (f" ({' and '.join(left_out)} left out)" if left_out else "")


def decimals_for(value: float, digits: int = 4) -> int:
    """Decimal places that show ``value`` with four digits, as the papers' tables do."""
    if not np.isfinite(value) or value == 0:
        return digits - 1
    return int(np.clip(digits - 1 - math.floor(math.log10(abs(value))), 0, 8 if abs(value) < 1e-3 else digits))


def number(value: float, decimals: int | None = None) -> str:
    """A table's number: ``∞`` and ``–`` (undefined) are spelt out."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{decimals_for(value) if decimals is None else decimals}f}".replace("-", "−")


def case_table(measured: Sequence[Measured], metrics: Sequence[ImageMetric]) -> pd.DataFrame:
    """One row per case, level, region and image; the level ``slice`` holds the mean over the case's slices.

    Infinite values of single slices are left out of that mean unless all are infinite; ``slices`` counts the slices.
    """
    names = [metric.name for metric in metrics]
    volumes = pd.DataFrame([row for case in measured for row in case.volume], columns=[*KEYS, *names])
    volumes["level"] = "volume"
    slices = slice_table(measured, metrics)
    means = slices.groupby(["case", "subject", "region", "image"], sort=False)[names].agg(_finite_mean).reset_index()
    counted = slices.groupby(["case", "subject", "region", "image"], sort=False).size().rename("slices").reset_index()
    means = means.merge(counted, on=["case", "subject", "region", "image"]).assign(level="slice")
    table = pd.concat([volumes, means], ignore_index=True)
    ranges = {case.pair.case: case.pair for case in measured}
    table["unit"] = [ranges[case].unit for case in table["case"]]
    table["lower"] = [ranges[case].data_range[0] for case in table["case"]]
    table["upper"] = [ranges[case].data_range[1] for case in table["case"]]
    table["slices"] = table["slices"].astype("Int64")
    position = {case: index for index, case in enumerate(ranges)}
    table = table.assign(_case=table["case"].map(position), _image=table["image"] != "synthetic")
    table = table.sort_values(["_case", "level", "region", "_image"], kind="stable")
    return table[[*KEYS, "slices", "unit", "lower", "upper", *names]].reset_index(drop=True)


def slice_table(measured: Sequence[Measured], metrics: Sequence[ImageMetric]) -> pd.DataFrame:
    """One row per case, slice (its index from the feet up for axial slices), region and image."""
    columns = ["case", "subject", "slice", "region", "image", *(metric.name for metric in metrics)]
    return pd.DataFrame([row for case in measured for row in case.slices], columns=columns)


def summary_table(cases: pd.DataFrame, metrics: Sequence[ImageMetric]) -> pd.DataFrame:
    """Mean ± SD over the cases for every level, region, image and metric.

    ``better`` counts the cases in which the synthetic image beats the untranslated source, of ``compared`` cases in
    which both have a value; empty on the rows of the source.
    """
    rows = []
    for level in LEVELS:
        for region in REGIONS:
            part = cases[(cases["level"] == level) & (cases["region"] == region)]
            for metric in metrics:
                better, compared = _better(part, metric)
                for image in part["image"].unique():
                    values = part.loc[part["image"] == image, metric.name]
                    spread = Spread.of(values)
                    finite = values[np.isfinite(values)]
                    rows.append(
                        {"level": level, "region": region, "image": image, "metric": metric.name}
                        | {"mean": spread.mean, "sd": spread.sd, "median": finite.median()}
                        | {"min": finite.min(), "max": finite.max(), "cases": spread.count}
                        | {"infinite": spread.infinite, "undefined": spread.undefined}
                        | {"better": better if image == "synthetic" else None}
                        | {"compared": compared if image == "synthetic" else None}
                    )
    table = pd.DataFrame(rows)
    return table.astype({"better": "Int64", "compared": "Int64"})


def headline_table(
    summary: pd.DataFrame, metrics: Sequence[ImageMetric], level: str, region: str, unit: str
) -> list[dict[str, str]]:
    """One dictionary a metric, as shown to people: ``metric, synthetic, source, better``; empty if not measured."""
    part = summary[(summary["level"] == level) & (summary["region"] == region)]
    rows = []
    for metric in metrics:
        here = by_image(part[part["metric"] == metric.name])
        if not any(values["cases"] + values["infinite"] for values in here.values()):
            continue
        in_unit = metric.unit_in(unit)
        shown = {image: str(_spread_of(values)) for image, values in here.items()}
        compared = here["synthetic"]["compared"]
        rows.append(
            {
                "metric": f"{metric.title}{f' [{in_unit}]' if in_unit else ''} {metric.arrow}",
                "synthetic": shown["synthetic"],
                "source": shown.get("source", ""),
                "better": f"{here['synthetic']['better']} of {compared}" if compared else "",
            }
        )
    return rows


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """As CSV: undefined values are empty, infinite ones ``inf``."""
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)
    return path


def by_image(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Image -> its row."""
    return {str(row["image"]): dict(row) for row in rows.to_dict("records")}  # type: ignore[arg-type]


def _spread_of(row: Mapping[str, Any]) -> Spread:
    return Spread(row["mean"], row["sd"], int(row["cases"]), int(row["infinite"]), int(row["undefined"]))


def _better(part: pd.DataFrame, metric: ImageMetric) -> tuple[int, int]:
    """In how many cases the synthetic image beats the source, of how many that have both."""
    wide = part.pivot(index="case", columns="image", values=metric.name)
    if not {"synthetic", "source"} <= set(wide):
        return 0, 0
    wide = wide.dropna(subset=["synthetic", "source"])
    gain = wide["synthetic"] - wide["source"] if metric.higher_is_better else wide["source"] - wide["synthetic"]
    return int((gain > 0).sum()), len(wide)


def _finite_mean(values: pd.Series) -> float:
    finite = values[np.isfinite(values)]
    if len(finite):
        return float(finite.mean())
    return math.inf if np.isposinf(values).any() else math.nan
