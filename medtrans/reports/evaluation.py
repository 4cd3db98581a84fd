"""Evaluate synthetic volumes against real ones: tables, pictures and a report, whole or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch

from medtrans import metrics as all_metrics
from medtrans.errors import CasesFailedError, InputError
from medtrans.files import check_writable, written_whole
from medtrans.metrics import ImageMetric
from medtrans.progress import progress
from medtrans.reports import tables
from medtrans.reports.html import Report, write_html
from medtrans.reports.measuring import Measured, Volumes, measure, read_volumes
from medtrans.reports.pairing import Pair, pairs_from_cases, pairs_from_folders
from medtrans.reports.pictures import translation_figure

if TYPE_CHECKING:
    from medtrans.cohorts import Case

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Args:
        cases: one row per case, level, region and image.
        slices: one row per slice.
        summary: mean ± SD over the cases.
        failed: case -> reason.
        text: the summary in Markdown, as in ``summary.md``.
        folder: where everything was written.
    """

    cases: pd.DataFrame
    slices: pd.DataFrame
    summary: pd.DataFrame
    failed: dict[str, str]
    text: str
    folder: Path

    def tell(self) -> None:
        """Print the table and where the report is.

        Raises:
            CasesFailedError: some cases could not be evaluated.
        """
        print(f"{self.text}\nReport: {self.folder / 'report.html'}")
        if self.failed:
            case, reason = next(iter(self.failed.items()))
            problem = f"{len(self.failed)} case(s) could not be evaluated, the first: {case}: {reason}"
            raise CasesFailedError(self.folder / "failed.csv", problem, "Mend them and evaluate again")


def evaluate(
    predictions: str | os.PathLike[str],
    references: str | os.PathLike[str] | Iterable[Case],
    output: str | os.PathLike[str],
    *,
    target: str | None = None,
    source: str | None = None,
    sources: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    data_range: tuple[float, float] | None = None,
    source_range: tuple[float, float] | None = None,
    unit: str = "",
    axis: int = 2,
    metrics: Sequence[ImageMetric] | None = None,
    workers: int = 1,
) -> Evaluation:
    """Compare predictions, and the untranslated source beside them, with their references.

    Args:
        predictions: folder (or file) of synthetic NIfTI volumes in the target's unit.
        references: folder (or file) of real target volumes, or the cases of a data set
            (``Cases.read(folder).of_split("test")``), which bring windows, units and masks.
        output: folder for ``metrics.csv, slices.csv, summary.csv, summary.md, failed.csv, pictures/, report.html``.
        target: modality of the predictions; required with cases.
        source: modality they were made from; with cases, to compare the untranslated source.
        sources: folder of source volumes, when ``references`` is a folder.
        masks: folder of body masks (> 0 is inside), when ``references`` is a folder.
        data_range: (lower, upper) in the target's unit that relative metrics refer to; required with folders, instead
            of each case's window with cases. Never taken from the images.
        source_range: with folders: the interval of source values that is mapped onto ``data_range`` before the source
            is compared; None: the source is compared as it is.
        unit: of the target, with folders.
        axis: across which axis slices are cut (2: axial).
        metrics: from ``medtrans.metrics.create``; default: all that are reported by default.
        workers: processes that measure cases at the same time.

    Raises:
        InputError: nothing can be evaluated: no data range, no pairs, unclear names, an unwritable folder. A case
            that fails is recorded in ``failed`` instead.
    """
    if isinstance(references, str | os.PathLike):
        pairs = pairs_from_folders(
            predictions, references, data_range=data_range, sources=sources, masks=masks, source_range=source_range,
            unit=unit,
        )  # fmt: skip
    else:
        if target is None:
            raise InputError("the target modality", "is not given", "Name it with --target")
        pairs = pairs_from_cases(predictions, references, target=target, source=source, data_range=data_range)
    folder = Path(output).expanduser()
    check_writable(folder)
    wanted = list(metrics) if metrics is not None else all_metrics.create()
    missing = [reason for metric in wanted if (reason := metric.unavailable())]
    for reason in missing:
        logger.warning("%s", reason)
    chosen = [metric for metric in wanted if not metric.unavailable()]
    measured, failed = _all_measured(pairs, folder, chosen, axis, workers, (source, target))
    if not measured:
        case, reason = next(iter(failed.items()))
        raise InputError(predictions, f"has no case that could be evaluated, for example {case}", reason)
    return _written(folder, pairs, measured, failed, chosen, missing, axis, (source, target))


def _all_measured(
    pairs: Sequence[Pair], folder: Path, metrics: Sequence[ImageMetric], axis: int, workers: int,
    names: tuple[str | None, str | None],
) -> tuple[list[Measured], dict[str, str]]:  # fmt: skip
    """Every case in the order of ``pairs``, and the reasons of those that failed."""
    work = partial(_measured_or_reason, folder=folder, metrics=metrics, axis=axis, names=names)
    results: dict[str, Measured | str] = {}
    for case, result in progress(_results(work, pairs, workers), "Evaluating", total=len(pairs)):
        results[case] = result
        if isinstance(result, str):
            logger.error("%s", result)
    ordered = [results[pair.case] for pair in pairs]
    failed = {pair.case: text for pair in pairs if isinstance(text := results[pair.case], str)}
    return [result for result in ordered if isinstance(result, Measured)], failed


def _results(work: partial, pairs: Sequence[Pair], workers: int) -> Iterator[tuple[str, Measured | str]]:
    """Case and result, in the order they are done."""
    if workers <= 1 or len(pairs) == 1:
        yield from map(work, pairs)
        return
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for done in as_completed([pool.submit(work, pair) for pair in pairs]):
            yield done.result()


def _measured_or_reason(
    pair: Pair, folder: Path, metrics: Sequence[ImageMetric], axis: int, names: tuple[str | None, str | None]
) -> tuple[str, Measured | str]:
    """Measure and draw one case; a refusal becomes its reason."""
    try:
        volumes = read_volumes(pair)
        measured = measure(pair, volumes, metrics, axis)
        _draw(pair, volumes, measured, metrics, picture_path(folder, pair.case), names)
        return pair.case, measured
    except InputError as error:
        return pair.case, str(error)


def picture_path(folder: Path, case: str) -> Path:
    """Where the picture of ``case`` lies."""
    return folder / "pictures" / f"{case.replace('/', '_')}.png"


def _draw(
    pair: Pair, volumes: Volumes, measured: Measured, metrics: Sequence[ImageMetric], path: Path,
    names: tuple[str | None, str | None],
) -> None:  # fmt: skip
    row = next(row for row in measured.volume if row["image"] == "synthetic")
    shown = [metric for metric in metrics if metric.name in ("ssim", "psnr", "mae")]
    values = [f"{m.title} {tables.number(row[m.name])} {m.unit_in(pair.unit)}".strip() for m in shown]
    source, target = names
    translation_figure(
        volumes.source,
        volumes.prediction,
        volumes.reference,
        path,
        target_range=pair.data_range,
        source_range=pair.source_range,
        mask=volumes.mask,
        spacing=volumes.spacing,
        unit=pair.unit,
        source_unit=pair.source_unit if pair.source_range else pair.unit,
        title="    ".join([pair.case, *values, tables.REGIONS[row["region"]]]),
        names=(f"source {source or ''}".strip(), f"synthetic {target or ''}".strip(), f"target {target or ''}".strip()),
    )


def _written(
    folder: Path, pairs: Sequence[Pair], measured: Sequence[Measured], failed: dict[str, str],
    metrics: Sequence[ImageMetric], missing: Sequence[str], axis: int, names: tuple[str | None, str | None],
) -> Evaluation:  # fmt: skip
    """Every table and the report."""
    cases, slices = tables.case_table(measured, metrics), tables.slice_table(measured, metrics)
    summary = tables.summary_table(cases, metrics)
    source, target = names
    title = (
        f"Evaluation of {source} → {target}" if source and target else f"Evaluation of synthetic {target or 'images'}"
    )
    facts = _facts([case.pair for case in measured], axis, cases)
    notes = [*missing, *dict.fromkeys(note for case in measured for note in case.notes.values())]
    unit = measured[0].pair.unit
    text = _markdown(title, facts, notes, failed, summary, metrics, unit)
    tables.write_table(cases, folder / "metrics.csv")
    tables.write_table(slices, folder / "slices.csv")
    tables.write_table(summary, folder / "summary.csv")
    tables.write_table(pd.DataFrame(failed.items(), columns=["case", "reason"]), folder / "failed.csv")
    with written_whole(folder / "summary.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    pictures = {case.pair.case: picture_path(folder, case.pair.case) for case in measured}
    write_html(Report(title, cases, summary, metrics, unit, facts, failed, notes, pictures), folder / "report.html")
    return Evaluation(cases, slices, summary, failed, text, folder)


def _facts(pairs: Sequence[Pair], axis: int, cases: pd.DataFrame) -> dict[str, str]:
    """How it was measured, for the head of every output."""
    unit = pairs[0].unit or "arbitrary units"
    ranges = {pair.data_range for pair in pairs}
    if len(ranges) == 1:
        data_range = "[{:g}, {:g}]".format(*pairs[0].data_range)
    else:
        ends = [" to ".join(f"{end:g}" for end in sorted({min(all_), max(all_)})) for all_ in zip(*ranges, strict=True)]
        data_range = f"each case's own window: lower end {ends[0]}, upper end {ends[1]}"
    facts = {
        "Target's unit": unit,
        "Data range (window)": f"{data_range} {unit}, stated beforehand, never the images' maximum",
    }
    facts["Clipping"] = (
        "MAE, RMSE, MSE and z-scored MAE see unclipped values; every other metric is clipped to the range"
    )
    masked = sum(pair.mask is not None for pair in pairs)
    facts["Body mask"] = f"{masked} of {len(pairs)} cases have one" if masked else "none: only whole images"
    number = int(cases.loc[cases["level"] == "slice", "slices"].groupby(cases["case"]).max().sum())
    share = "of their pixels inside the mask" if masked else "of the reference's pixels in the upper 95 % of the range"
    facts["Slices"] = f"{number} {('sagittal', 'coronal', 'axial')[axis]} slices with more than 2 % {share}"
    facts["Spread"] = "mean ± sample SD over cases; per slice: over the cases' means, each over its slices"
    if any(pair.source for pair in pairs):
        facts["Better in"] = "cases in which the synthetic image has a better value than the untranslated source"
    facts["Untranslated source"] = _source_fact(pairs)
    facts["Date"] = date.today().isoformat()
    return facts


def _source_fact(pairs: Sequence[Pair]) -> str:
    if not any(pair.source for pair in pairs):
        return "not compared (no source given)"
    if any(pair.source_range for pair in pairs):
        return (
            "source and target are not in one physical unit: the source's window is mapped linearly onto the target's, "
            "which is the comparison in normalised [-1, 1] units; errors in the target's unit are then only a baseline"
        )
    return "compared as it is: source and target are in the same unit"


def _markdown(
    title: str, facts: dict[str, str], notes: Sequence[str], failed: dict[str, str], summary: pd.DataFrame,
    metrics: Sequence[ImageMetric], unit: str,
) -> str:  # fmt: skip
    """The summary as people read it."""
    lines = [f"# {title}", "", *(f"- {label}: {text}" for label, text in facts.items())]
    lines += [f"- {note}" for note in notes] + [f"- failed: {case}: {reason}" for case, reason in failed.items()]
    with_source = bool((summary["image"] == "source").any())
    heads = ["Metric", "Synthetic", *(["Untranslated source", "Better in"] if with_source else [])]
    for region, region_name in tables.REGIONS.items():
        for level, level_name in tables.LEVELS.items():
            rows = tables.headline_table(summary, metrics, level, region, unit)
            if rows:
                body = [list(row.values())[: len(heads)] for row in rows]
                lines += ["", f"## {level_name.capitalize()}, {region_name} (mean ± SD)", "", *_aligned(heads, body)]
    return "\n".join(lines) + "\n"


def _aligned(heads: list[str], body: list[list[str]]) -> list[str]:
    """A Markdown table with columns padded for the terminal."""
    widths = [max(len(row[column]) for row in [heads, *body]) for column in range(len(heads))]
    rows = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [heads, *body]]
    rule = ["-" * width for width in widths]
    return ["| " + " | ".join(row) + " |" for row in [rows[0], rule, *rows[1:]]]
