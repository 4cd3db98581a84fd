"""The benchmark as Markdown and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medtrans.benchmark.study import Study
from medtrans.benchmark.tables import COST_HEADS, MARKS, Table, interval_lines, markdown_table, value_lines
from medtrans.files import written_whole
from medtrans.html_pictures import data_uri
from medtrans.metrics import ImageMetric
from medtrans.reports import html
from medtrans.reports.plots import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND = "Bold: the best mean. ▲ ▼: better or worse than the baseline, p < 0.05 after correction"


@dataclass(frozen=True)
class Section:
    """The table of one level and region.

    Args:
        title: which level and region.
        table: what it shows.
        intervals: the figure beside it.
        curve: the figure over depth.
    """

    title: str
    table: Table
    intervals: Figure | None = None
    curve: Figure | None = None


@dataclass(frozen=True)
class Part:
    """One study on the page.

    Args:
        study: what was compared.
        sections: the first is shown open.
        costs: lines of the table of costs.
        published: heads and lines of the paper's own values.
        pictures: PNG of the grid; None where there is none.
    """

    study: Study
    sections: Sequence[Section]
    costs: Sequence[Sequence[str]]
    published: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
    pictures: Path | None = None


@dataclass(frozen=True)
class Page:
    """All of it.

    Args:
        title: heading.
        facts: how it was compared, label -> text.
        notes: what the reader must know before the numbers.
        failed: (row and seed, reason).
        parts: a study each.
        metrics: those measured.
    """

    title: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    failed: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    metrics: Sequence[ImageMetric] = field(default_factory=list)


def write_markdown(page: Page, path: Path) -> str:
    """Write the tables as text and return them."""
    lines = [f"# {page.title}", "", *(f"- {label}: {text}" for label, text in page.facts.items())]
    lines += [f"- {LEGEND}", *(f"- {note}" for note in page.notes)]
    lines += [f"- failed: {name}: {reason}" for name, reason in page.failed]
    for part in page.parts:
        lines += ["", f"## {part.study.title}", *([part.study.note] if part.study.note else [])]
        for section in part.sections:
            lines += ["", f"### {section.title} (mean ± SD over the subjects)", "", *value_lines(section.table)]
        if part.sections:
            first = part.sections[0]
            lines += ["", f"### {first.title}: intervals and differences from {part.study.baseline}", ""]
            lines += interval_lines(first.table)
        if part.published[1]:
            lines += ["", "### What the paper reports, on its own data: compare the order, not the values", ""]
            lines += markdown_table(*part.published)
        if part.costs:
            lines += ["", "### Size, budget, time and memory", "", *markdown_table(COST_HEADS, part.costs)]
    text = "\n".join(lines) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def write_html(page: Page, path: Path) -> Path:
    """Write the page with its figures inside."""
    template = html.environment(Path(__file__).parent).get_template("benchmark.html.j2")
    rows = sum(len(part.study.rows) for part in page.parts)
    text = template.render(
        title=page.title,
        subtitle=f"{rows} row{'s' * (rows != 1)}. {LEGEND}.",
        facts=page.facts,
        notes=page.notes,
        failed=page.failed,
        studies=[_shown(part) for part in page.parts],
        marks=MARKS,
        cost_heads=COST_HEADS,
        definitions=[(f"{metric.title} {metric.arrow}", metric.definition) for metric in page.metrics],
    )
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _shown(part: Part) -> dict:
    sections = [
        {
            "title": section.title,
            "table": section.table,
            "figure": svg(section.intervals) if section.intervals is not None else "",
            "curve": svg(section.curve) if section.curve is not None else "",
        }
        for section in part.sections
    ]
    study = part.study
    return {
        "name": study.name,
        "title": study.title,
        "note": study.note,
        "axis": study.axis,
        "baseline": study.baseline,
        "sections": sections,
        "costs": part.costs,
        "published_heads": part.published[0],
        "published_lines": part.published[1],
        "pictures": data_uri(part.pictures) if part.pictures else "",
    }
