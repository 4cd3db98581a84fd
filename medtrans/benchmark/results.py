"""From the folders of runs to tables: a value a subject, row and metric; then means, intervals, tests and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medtrans.benchmark.run import Run
from medtrans.benchmark.statistics import Interval, holm, interval, paired
from medtrans.benchmark.study import Study
from medtrans.metrics import ImageMetric
from medtrans.reports.tables import LEVELS, REGIONS, Spread

SOURCE = "untranslated source"
PLACE = ["level", "region"]


def subject_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One line per row, seed, subject, level and region with every metric; a subject's scans are averaged.

    The untranslated source is a row of its own, :data:`SOURCE`, with the seed of the first run. Runs that are not done
    are left out.
    """
    parts: list[pd.DataFrame] = []
    for run in (run for run in runs if run.result()["status"] == "done"):
        cases = pd.read_csv(run.folder / "evaluation" / "metrics.csv", dtype={"case": str, "subject": str})
        cases["subject"] = cases["subject"].fillna(cases["case"])
        for image, name in (("synthetic", run.row.name), ("source", SOURCE)):
            if image == "synthetic" or not any(part["row"].iloc[0] == SOURCE for part in parts):
                rows = cases[cases["image"] == image].assign(row=name, seed=run.seed)
                parts += [rows] if len(rows) else []
    if not parts:
        return pd.DataFrame(columns=["row", "seed", "subject", *PLACE])
    table = pd.concat(parts, ignore_index=True)
    metrics = [name for name in table if name not in NOT_METRICS]
    return table.groupby(["row", "seed", "subject", *PLACE], sort=False)[metrics].mean().reset_index()


NOT_METRICS = ("case", "subject", "level", "region", "image", "slices", "unit", "lower", "upper", "row", "seed")


def summary_table(subjects: pd.DataFrame, study: Study, metrics: Sequence[ImageMetric]) -> pd.DataFrame:
    """Mean, SD, interval and test against the baseline for every level, region, metric and row.

    Several seeds of a row are averaged subject by subject first; ``seed_sd`` is the SD of the seeds' means. p-values
    are corrected by Holm over the methods compared with the baseline in one metric, level and region; that of the
    untranslated source, which is no candidate, is left as it is.
    """
    order = [name for name in (SOURCE, *(row.name for row in study.rows)) if name in set(subjects["row"])]
    lines: list[dict] = []
    for level in LEVELS:
        for region in REGIONS:
            part = subjects[(subjects["level"] == level) & (subjects["region"] == region)]
            for metric in (metric for metric in metrics if metric.name in part and part[metric.name].notna().any()):
                family = [_line(part, name, study.baseline, metric) for name in order]
                methods = [np.nan if line["row"] == SOURCE else line["p"] for line in family]
                corrected = [
                    p if line["row"] != SOURCE else line["p"] for line, p in zip(family, holm(methods), strict=True)
                ]
                for line, p in zip(family, corrected, strict=True):
                    lines.append({"level": level, "region": region, "metric": metric.name, **line, "p_holm": p})
    return pd.DataFrame(lines)


def _line(part: pd.DataFrame, name: str, baseline: str, metric: ImageMetric) -> dict:
    """One row in one metric."""
    values = by_subject(part, name, metric.name)
    spread, within = Spread.of(list(values.values())), interval(list(values.values()))
    per_seed = part[part["row"] == name].groupby("seed")[metric.name].agg(lambda column: Spread.of(column).mean)
    line = {"row": name, "mean": spread.mean, "sd": spread.sd, "low": within.low, "high": within.high}
    line |= {"subjects": spread.count, "infinite": spread.infinite, "undefined": spread.undefined}
    line |= {"seeds": len(per_seed), "seed_sd": Spread.of(per_seed).sd}
    nothing = Interval(np.nan, np.nan, np.nan)
    test = (
        None if name == baseline else paired(values, by_subject(part, baseline, metric.name), metric.higher_is_better)
    )
    change = test.difference if test else nothing
    line |= {"difference": change.mean, "difference_low": change.low, "difference_high": change.high}
    compared = test.subjects if test else 0
    return line | {"better": test.better if test else 0, "compared": compared, "p": test.p if test else np.nan}


def by_subject(part: pd.DataFrame, name: str, metric: str) -> dict[str, float]:
    """Subject -> the row's value, the mean over its seeds."""
    rows = part[part["row"] == name]
    return {str(subject): float(value) for subject, value in rows.groupby("subject", sort=False)[metric].mean().items()}


def run_table(runs: Sequence[Run], folder: Path) -> pd.DataFrame:
    """One line a run: what came of it and what it cost. Paths are relative to ``folder``."""
    lines = []
    for run in runs:
        result = run.result()
        parameters = result.get("parameters", {})
        lines.append(
            {
                "row": run.row.name,
                "seed": run.seed,
                "status": result["status"],
                "reason": result.get("reason", ""),
                "parameters_generator": generator_parameters(parameters),
                "parameters": _sum(parameters),
                **{key: result.get(key) for key in COSTS},
                "folder": run.folder.relative_to(folder).as_posix(),
            }
        )
    return pd.DataFrame(lines)


COSTS = (
    "steps", "batch_size", "images", "generator_steps", "seconds_a_step", "training_seconds", "seconds_a_slice",
    "memory_mib", "cuda_mib", "device", "threads",
)  # fmt: skip


def generator_parameters(parameters: Mapping[str, int]) -> int | None:
    """Those of the network that translates source to target, of all networks where none is called so."""
    named = (parameters[name] for name in ("generator", "generator_to_target") if name in parameters)
    return next(named, _sum(parameters))


def _sum(parameters: Mapping[str, int]) -> int | None:
    return sum(parameters.values()) if parameters else None


def same_images(runs: Sequence[Run]) -> str:
    """One sentence: whether the trainings of each seed were given the same images in the same order.

    By the checksums of what came from the loaders, as far as two runs both trained.
    """
    done = [run for run in runs if run.result()["status"] == "done"]
    differing, least = [], None
    for seed in dict.fromkeys(run.seed for run in done):
        seen = {run.row.name: given(run) for run in done if run.seed == seed}
        first = next(iter(seen.values()))
        for name, images in seen.items():
            shared = min(len(first), len(images))
            least = shared if least is None else min(least, shared)
            if images[:shared] != first[:shared]:
                differing.append(name)
    if differing:
        names = ", ".join(dict.fromkeys(differing))
        return f"not the same for every row: {names} (another image size, range or augmentation)"
    return f"every row was given the same images in the same order (checksums of the first {least or 0} agree)"


def given(run: Run) -> list[str]:
    """Checksums of the images a training was given, in order."""
    items = pd.read_csv(run.steps, dtype=str, keep_default_na=False)["items"]
    return [checksum for batch in items for checksum in batch.split()]
