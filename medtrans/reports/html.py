"""The report as one HTML file that needs nothing else: tables, plots and pictures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medtrans.files import written_whole
from medtrans.html_pictures import data_uri
from medtrans.metrics import ImageMetric
from medtrans.reports.plots import distribution_plot
from medtrans.reports.tables import LEVELS, REGIONS, by_image, headline_table, number

if TYPE_CHECKING:
    import jinja2

EMBEDDED = 60  # pictures inside the file; more would make it too large to open
HEADLINES = ("ssim", "psnr", "mae")


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Args:
        title: heading.
        cases: the case table.
        summary: the summary table.
        metrics: those measured.
        unit: the target's unit.
        facts: how it was measured, label -> text.
        failed: case -> reason.
        missing: metrics that could not be computed, one sentence each.
        pictures: case -> PNG.
    """

    title: str
    cases: pd.DataFrame
    summary: pd.DataFrame
    metrics: Sequence[ImageMetric]
    unit: str
    facts: Mapping[str, str]
    failed: Mapping[str, str]
    missing: Sequence[str]
    pictures: Mapping[str, Path]


def write_html(report: Report, path: Path) -> Path:
    """Write the page; the pictures beyond the worst sixty are linked, not embedded."""
    region = "mask" if (report.cases["region"] == "mask").any() else "whole"
    level = "volume"
    main = report.cases[(report.cases["level"] == level) & (report.cases["region"] == region)]
    shown = [metric for metric in report.metrics if np.isfinite(main[metric.name]).any()]
    ranked = worst_first(main, shown)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            headlines=_headlines(report, level, region),
            sections=_sections(report),
            plot=distribution_plot(main, shown, report.unit),
            place=f"{LEVELS[level]}, {REGIONS[region]}",
            columns=[{"title": f"{m.title} {m.arrow}", "unit": m.unit_in(report.unit)} for m in shown],
            rows=[_case_row(main, case, shown) for case in ranked],
            ranked_by=ranking(shown).title if shown else "",
            pictures=_pictures(report.pictures, ranked, path.parent),
            has_source=bool((report.cases["image"] == "source").any()),
            definitions=[(f"{m.title} {m.arrow}", m.definition) for m in report.metrics],
        )
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def environment(*folders: Path) -> jinja2.Environment:
    """The template engine, with the templates of ``folders`` and of this room."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def ranking(metrics: Sequence[ImageMetric]) -> ImageMetric:
    """The metric by which cases are ranked: SSIM where it was measured, else the first."""
    return next((metric for metric in metrics if metric.name == "ssim"), metrics[0])


def worst_first(cases: pd.DataFrame, metrics: Sequence[ImageMetric]) -> list[str]:
    """Names of the cases from the worst to the best synthetic image; undefined values first."""
    synthetic = cases[cases["image"] == "synthetic"]
    if not metrics:
        return list(synthetic["case"])
    metric = ranking(metrics)
    order = synthetic.sort_values(metric.name, ascending=metric.higher_is_better, na_position="first", kind="stable")
    return list(order["case"])


def _headlines(report: Report, level: str, region: str) -> list[dict[str, str]]:
    part = report.summary[(report.summary["level"] == level) & (report.summary["region"] == region)]
    tiles = []
    for metric in report.metrics:
        values = by_image(part[part["metric"] == metric.name])
        if metric.name not in HEADLINES or not values or not values["synthetic"]["cases"]:
            continue
        mean, unit = values["synthetic"]["mean"], metric.unit_in(report.unit)
        tile = {"title": f"{metric.title} {metric.arrow}", "value": number(mean), "unit": unit, "source": ""}
        if "source" in values and values["source"]["cases"]:
            tile["source"] = number(values["source"]["mean"])
        tiles.append(tile)
    return tiles


def _sections(report: Report) -> list[dict]:
    """The summary tables that hold something."""
    sections = []
    for region, region_name in REGIONS.items():
        for level, level_name in LEVELS.items():
            rows = headline_table(report.summary, report.metrics, level, region, report.unit)
            if rows:
                sections.append({"title": f"{level_name.capitalize()}, {region_name}", "rows": rows})
    return sections


def _case_row(cases: pd.DataFrame, case: str, metrics: Sequence[ImageMetric]) -> dict:
    here = by_image(cases[cases["case"] == case])
    values = []
    for metric in metrics:
        synthetic = here["synthetic"][metric.name]
        value = {"synthetic": number(synthetic), "source": "", "worse": False}
        if "source" in here:
            source = here["source"][metric.name]
            value["source"] = number(source)
            value["worse"] = bool(synthetic < source if metric.higher_is_better else synthetic > source)
        values.append(value)
    return {"case": case, "values": values}


def _pictures(pictures: Mapping[str, Path], ranked: Sequence[str], folder: Path) -> list[dict[str, str]]:
    """Worst case first; the first ones as data URIs, the others as relative links."""
    shown = []
    for position, case in enumerate(name for name in ranked if name in pictures):
        path = pictures[case]
        inside = position < EMBEDDED
        address = data_uri(path) if inside else path.relative_to(folder).as_posix()
        shown.append({"case": case, "address": address})
    return shown
