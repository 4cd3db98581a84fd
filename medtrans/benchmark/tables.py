"""The tables as people read them: a line a row, with the best value, intervals, tests and costs spelt out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtrans.benchmark.results import SOURCE
from medtrans.benchmark.study import Study
from medtrans.metrics import ImageMetric
from medtrans.reports.tables import decimals_for, number

SIGNIFICANT = 0.05
MARKS = {"better": "▲", "worse": "▼", "": ""}


@dataclass(frozen=True)
class Cell:
    """One value of a table.

    Args:
        text: mean ± SD.
        interval: of the mean.
        test: difference from the baseline with its interval, p and count.
        best: whether no other method has a better mean.
        mark: ``better`` or ``worse`` than the baseline by the corrected test, else "".
    """

    text: str = "–"
    interval: str = ""
    test: str = ""
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A line a row, a column a metric.

    Args:
        heads: titles of the metrics with their direction.
        lines: row -> its cells.
        failed: row -> why it has no values.
    """

    heads: list[str]
    lines: dict[str, list[Cell]]
    failed: dict[str, str]


def table_of(
    summary: pd.DataFrame, study: Study, metrics: Sequence[ImageMetric], unit: str, failed: Mapping[str, str]
) -> Table:
    """The table of one level and region.

    Args:
        summary: of that level and region.
        study: gives the order and the baseline.
        metrics: those measured.
        unit: the target's.
        failed: row -> reason.
    """
    shown = [metric for metric in metrics if metric.name in set(summary["metric"])]
    heads = [_head(metric, unit) for metric in shown]
    lines: dict[str, list[Cell]] = {}
    for name in [SOURCE, *(row.name for row in study.rows)]:
        cells = []
        for metric in shown:
            part = summary[summary["metric"] == metric.name]
            found = part[part["row"] == name]
            cells.append(_cell(found.iloc[0].to_dict(), part, metric) if len(found) else Cell())
        if name in set(summary["row"]) or name in failed:
            lines[name] = cells
    return Table(heads, lines, dict(failed))


def _head(metric: ImageMetric, unit: str) -> str:
    in_unit = metric.unit_in(unit)
    return f"{metric.title}{f' [{in_unit}]' if in_unit else ''} {metric.arrow}"


def _cell(line: Mapping, part: pd.DataFrame, metric: ImageMetric) -> Cell:
    if not line["subjects"]:
        return Cell("∞" if line["infinite"] else "–")
    decimals = decimals_for(line["mean"])
    text = number(line["mean"], decimals) + (f" ± {number(line['sd'], decimals)}" if line["subjects"] > 1 else "")
    within = _interval(line["low"], line["high"], decimals)
    methods = part[part["row"] != SOURCE]["mean"]
    best = line["row"] != SOURCE and line["mean"] == (methods.max() if metric.higher_is_better else methods.min())
    test = ""
    if line["compared"]:
        within_change = _interval(line["difference_low"], line["difference_high"], decimals)
        change = f"{number(line['difference'], decimals)} {within_change}".strip()
        test = f"{change}, better in {line['better']} of {line['compared']}, p {p_text(line['p_holm'])}"
    return Cell(text, within, test, bool(best), verdict(line, metric))


def verdict(line: Mapping, metric: ImageMetric) -> str:
    """``better`` or ``worse`` than the baseline where the corrected test says so, else ``""``."""
    if not line["p_holm"] < SIGNIFICANT:  # NaN is no verdict either
        return ""
    return "better" if (line["difference"] > 0) == metric.higher_is_better else "worse"


def p_text(p: float) -> str:
    """``0.031``, ``< 0.001``, or ``–`` where there is no test."""
    if np.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _interval(low: float, high: float, decimals: int) -> str:
    return f"[{number(low, decimals)}, {number(high, decimals)}]" if np.isfinite([low, high]).all() else ""


def markdown_table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, padded so that it can be read in a terminal."""
    widths = [max(len(row[column]) for row in [heads, *body]) for column in range(len(heads))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [heads, *body]]
    rule = ["-" * max(3, width) for width in widths]
    return ["| " + " | ".join(row) + " |" for row in [lines[0], rule, *lines[1:]]]


def value_lines(table: Table) -> list[str]:
    """Mean ± SD; the best in bold, ▲ and ▼ where the corrected test tells a row from the baseline."""
    body = []
    for name, cells in table.lines.items():
        if name in table.failed:
            body.append([name, "failed", *[""] * (len(table.heads) - 1)])
            continue
        shown = [f"**{cell.text}**" if cell.best else cell.text for cell in cells]
        body.append([name, *(f"{text} {MARKS[cell.mark]}".strip() for text, cell in zip(shown, cells, strict=True))])
    return markdown_table(["", *(table.heads or ["values"])], body)


def interval_lines(table: Table) -> list[str]:
    """A line per metric and row: interval of the mean, difference from the baseline, corrected p."""
    body = [
        [head, name, cell.interval, cell.test]
        for place, head in enumerate(table.heads)
        for name, cell in ((name, cells[place]) for name, cells in table.lines.items() if name not in table.failed)
    ]
    return markdown_table(["metric", "row", "95 % interval of the mean", "minus the baseline"], body)


COST_HEADS = (
    "", "parameters of G", "steps", "updates of G", "s/step", "training", "s/slice", "memory", "GPU memory",
)  # fmt: skip


def cost_rows(runs: pd.DataFrame) -> list[list[str]]:
    """A line a row: size, budget used, time and memory; several seeds are averaged, peaks are the largest."""
    lines = []
    for name, part in runs[runs["status"] == "done"].groupby("row", sort=False):
        mean = part.select_dtypes("number").mean()
        updates = mean["steps"] * mean["generator_steps"]
        gpu = part["cuda_mib"].max()
        lines.append(
            [
                str(name),
                f"{mean['parameters_generator'] / 1e6:.3g} M",
                f"{mean['steps']:.0f}",
                f"{updates:.0f}",
                f"{mean['seconds_a_step']:.3g}",
                f"{mean['training_seconds'] / 60:.1f} min",
                "–" if np.isnan(mean.get("seconds_a_slice", np.nan)) else f"{mean['seconds_a_slice']:.3g}",
                f"{part['memory_mib'].max():.0f} MiB",
                f"{gpu:.0f} MiB" if gpu else "–",
            ]
        )
    return lines


def published_rows(study: Study, metrics: Sequence[ImageMetric]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the paper's own values; no lines where the study states none."""
    shown = [metric for metric in metrics if any(metric.name in row.published for row in study.rows)]
    rows = [row for row in study.rows if row.published]
    body = [
        [row.name, *(f"{row.published[m.name]:g}" if m.name in row.published else "" for m in shown)] for row in rows
    ]
    return ["", *(f"{metric.title} {metric.arrow}" for metric in shown)], body
