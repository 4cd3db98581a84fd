"""The whole comparison: every row is trained and judged under the same conditions, then tables and figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pandas as pd

from medtrans import metrics as all_metrics
from medtrans.benchmark import figures
from medtrans.benchmark.conditions import Conditions, dataset_key, run_key
from medtrans.benchmark.page import Page, Part, Section, write_html, write_markdown
from medtrans.benchmark.pictures import pictures_figure
from medtrans.benchmark.results import run_table, same_images, subject_table, summary_table
from medtrans.benchmark.run import Run
from medtrans.benchmark.schedule import Place, carry_out
from medtrans.benchmark.statistics import RESAMPLES, smallest_p
from medtrans.benchmark.study import Study, slug
from medtrans.benchmark.tables import SIGNIFICANT, cost_rows, published_rows, table_of
from medtrans.cohorts import Cases
from medtrans.errors import CasesFailedError, InputError
from medtrans.files import check_writable
from medtrans.metrics import ImageMetric
from medtrans.reports.html import ranking
from medtrans.reports.tables import LEVELS, REGIONS, write_table

logger = logging.getLogger(__name__)
METRICS = ("ssim", "psnr", "mse_255", "vif", "uqi", "lpips", "mae")  # the paper's six, and MAE in the target's unit
# Level and region, as shown; the second is the paper's.
ORDER = (("volume", "mask"), ("slice", "whole"), ("slice", "mask"), ("volume", "whole"))


@dataclass(frozen=True)
class Benchmark:
    """What came out.

    Args:
        folder: where everything was written.
        runs: one line a run.
        summaries: study -> its summary table.
        text: as in ``benchmark.md``.
    """

    folder: Path
    runs: pd.DataFrame
    summaries: Mapping[str, pd.DataFrame]
    text: str

    def tell(self) -> None:
        """Print the tables and where the page is.

        Raises:
            CasesFailedError: some rows failed.
        """
        print(f"{self.text}\nPage: {self.folder / 'benchmark.html'}")
        failed = self.runs[self.runs["status"] != "done"]
        if len(failed):
            first = failed.iloc[0]
            problem = f"{len(failed)} of {len(self.runs)} runs failed, the first: {first['row']}: {first['reason']}"
            raise CasesFailedError(self.folder / "runs.csv", problem, "Mend them and run again; finished runs are kept")


def benchmark(
    studies: Sequence[Study], conditions: Conditions, output: Path, seeds: Sequence[int], where: Sequence[Place]
) -> Benchmark:
    """Compare the rows of every study; what an earlier call has done is kept.

    Args:
        studies: each gets a folder of its own; a run that two of them need is made once.
        conditions: what every row shares.
        output: folder for ``runs/``, a folder a study, ``runs.csv``, ``benchmark.md`` and ``benchmark.html``.
        seeds: each row is trained once with each.
        where: places to work at the same time, see :mod:`medtrans.benchmark.schedule`.

    Raises:
        InputError: a row cannot be started: a config is absent, a key misspelt, a metric unknown, the folder cannot be
            written. A run that fails later is recorded in ``runs.csv`` instead.
    """
    output = output.expanduser().resolve()
    check_writable(output)
    measured = replace(conditions, metrics=_available(conditions))
    for study in studies:
        for row in study.rows:
            conditions.check(row)
    runs = runs_of(studies, measured, output, seeds)
    distinct = list({run.folder: run for study_runs in runs.values() for run in study_runs}.values())
    carry_out(distinct, where)
    return written(studies, runs, conditions, output)


def _metrics(conditions: Conditions) -> list[ImageMetric]:
    return all_metrics.create(conditions.metrics or METRICS, {"lpips": {"weights": conditions.lpips_weights}})


def _available(conditions: Conditions) -> tuple[str, ...]:
    """Names of the metrics that can be computed here: when LPIPS gets its weights, runs are judged anew."""
    reasons = {metric.name: metric.unavailable() for metric in _metrics(conditions)}
    if not (names := tuple(name for name, reason in reasons.items() if not reason)):
        raise InputError("the metrics", "are not available", next(iter(filter(None, reasons.values()))))
    return names


def runs_of(
    studies: Sequence[Study], conditions: Conditions, output: Path, seeds: Sequence[int]
) -> dict[str, list[Run]]:
    """Study -> its runs, seed by seed; their folders are named by a hash of what decides the result."""
    data = dataset_key(conditions.dataset)

    def run_of(row, seed):
        name = f"{slug(row.bundle.name)}-{run_key(conditions, row, seed, data)}"
        return Run(row, seed, output / "runs" / name, conditions)

    return {study.name: [run_of(row, seed) for seed in seeds for row in study.rows] for study in studies}


def written(
    studies: Sequence[Study], runs: Mapping[str, Sequence[Run]], conditions: Conditions, output: Path
) -> Benchmark:
    """Every table, figure and page from what the runs have left."""
    metrics = _metrics(conditions)
    table = pd.concat([run_table(runs[study.name], output).assign(study=study.name) for study in studies])
    write_table(table, output / "runs.csv")
    subjects = {study.name: subject_table(runs[study.name]) for study in studies}
    summaries, parts = {}, []
    for study in studies:
        summaries[study.name] = summary = summary_table(subjects[study.name], study, metrics)
        folder = output / slug(study.name)
        write_table(subjects[study.name], folder / "subjects.csv")
        write_table(summary, folder / "summary.csv")
        costs = table[table["study"] == study.name]
        parts.append(_part(study, runs[study.name], subjects[study.name], summary, costs, metrics, folder))
    failed = [(f"{line['row']} (seed {line['seed']})", line["reason"]) for line in _unfinished(table)]
    every = [run for study in studies for run in runs[study.name]]
    judged = Cases.read(conditions.dataset).of_split(conditions.split)
    number = len({case.subject for case in judged})
    facts, notes = _facts(conditions, every, number), _notes(studies, metrics, number, subjects)
    page = Page("Benchmark of image translation", facts, notes, failed, parts, metrics)
    text = write_markdown(page, output / "benchmark.md")
    write_html(page, output / "benchmark.html")
    return Benchmark(output, table, summaries, text)


def _unfinished(table: pd.DataFrame) -> list[dict]:
    return [dict(line) for line in table[table["status"] != "done"].to_dict("records")]


def _part(
    study: Study, runs: Sequence[Run], subjects: pd.DataFrame, summary: pd.DataFrame, costs: pd.DataFrame,
    metrics: Sequence[ImageMetric], folder: Path,
) -> Part:  # fmt: skip
    """One study's sections, with its figures written beside its tables."""
    failed = {line["row"]: line["reason"] for line in _unfinished(costs) if line["row"] not in set(subjects["row"])}
    if not len(summary):
        names = ", ".join(failed)
        logger.warning("%s: no row is done (%s)", study.title, names)
        return Part(study, [], [])
    unit = _unit(runs)
    sections: list[Section] = []
    for level, region in ORDER:
        here = summary[(summary["level"] == level) & (summary["region"] == region)]
        if not len(here):
            continue
        of_subjects = subjects[(subjects["level"] == level) & (subjects["region"] == region)]
        title = f"{LEVELS[level].capitalize()}, {REGIONS[region]}"
        table = table_of(here, study, metrics, unit, failed)
        intervals = figures.intervals_figure(of_subjects, here, study, metrics)
        curve = figures.curve_figure(of_subjects, here, study, metrics)
        if not sections:
            figures.write_png(intervals, folder / "intervals.png")
            if curve is not None:
                figures.write_png(curve, folder / "curve.png")
        sections.append(Section(title, table, intervals, curve))
    shown = [metric for metric in metrics if metric.name in set(summary["metric"])]
    there = set(zip(summary["level"], summary["region"], strict=True))
    level, region = next(place for place in ORDER if place in there)
    of_subjects = subjects[(subjects["level"] == level) & (subjects["region"] == region)]
    grid = pictures_figure(runs, of_subjects, ranking(shown))
    pictures = figures.write_png(grid, folder / "pictures.png") if grid is not None else None
    return Part(study, sections, cost_rows(costs), published_rows(study, metrics), pictures)


def _unit(runs: Sequence[Run]) -> str:
    """Of the target, as the evaluation wrote it."""
    for run in runs:
        if run.result()["status"] == "done":
            units = pd.read_csv(run.folder / "evaluation" / "metrics.csv", keep_default_na=False)["unit"]
            return str(units.iloc[0])
    return ""


def _facts(conditions: Conditions, runs: Sequence[Run], subjects: int) -> dict[str, str]:
    seeds = sorted({run.seed for run in runs})
    done = [run.result() for run in runs if run.result()["status"] == "done"]
    devices = ", ".join(dict.fromkeys(f"{r['device']} ({r['threads']} threads)" for r in done))
    overlays = f"; configs merged over every bundle: {', '.join(conditions.overlays)}" if conditions.overlays else ""
    settings = "; settings of every row: " + ", ".join(f"{k}={v}" for k, v in conditions.settings.items())
    return {
        "Data": f"{conditions.dataset.name}; judged on {counted(subjects, 'subject')} of its {conditions.split} split, "
        "which no training saw",
        "Budget": f"{conditions.budget} for each row{overlays}{settings if conditions.settings else ''}",
        "Model": "of each row the epoch with the best validation PSNR",
        "Seeds": ", ".join(map(str, seeds)) + (" (averaged subject by subject)" if len(seeds) > 1 else ""),
        "Order of the data": same_images(runs) if done else "no run is done",
        "Spread": "SD and intervals over subjects, never over slices: slices of one head are not independent",
        "Intervals": f"95 %, bootstrap of the mean over subjects (bias-corrected, accelerated), {RESAMPLES} resamples",
        "Tests": "Wilcoxon signed-rank, two-sided, paired by subject, against the baseline of each study; p "
        "corrected by Holm over the methods in one metric, level and region",
        "Time": "seconds a step: median over the run's batches, with whatever else the machine did; seconds a slice: "
        "whole volumes, from file to file",
        "Memory": "peak of the training process (resident), and of PyTorch on the GPU",
        "Device": devices or "–",
        "Date": date.today().isoformat(),
    }


def _notes(
    studies: Sequence[Study], metrics: Sequence[ImageMetric], subjects: int, tables: Mapping[str, pd.DataFrame]
) -> list[str]:
    """What the reader must know before the numbers."""
    notes = [reason for metric in metrics if (reason := metric.unavailable())]
    for study in studies:
        compared = len({row.name for row in study.rows} & set(tables[study.name]["row"])) - 1
        least = min(1.0, compared * smallest_p(subjects))
        if compared > 0 and least >= SIGNIFICANT:
            notes.append(
                f"{study.title}: {counted(subjects, 'subject')} cannot make a difference significant: with {compared} "
                f"methods compared, the smallest corrected p that can come out is {least:.2g}. Look at the intervals"
            )
    return notes


def counted(number: int, unit: str) -> str:
    """``"1 subject"``, ``"6 subjects"``."""
    return f"{number} {unit}{'s' * (number != 1)}"


def dataset_folder(path: Path) -> Path:
    """The data set's folder, with a training and a test split.

    Raises:
        InputError: it is no data set, or a split is empty.
    """
    cases = Cases.read(path)
    for split in ("train", "validation", "test"):
        try:
            cases.of_split(split)
        except InputError as error:
            remedy = "A benchmark needs training, validation and test: prepare more subjects"
            raise InputError(path, f"has no case in the {split} split", remedy) from error
    return cases.root
