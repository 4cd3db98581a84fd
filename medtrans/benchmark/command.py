"""From the words of ``medtrans benchmark`` to studies, conditions and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medtrans.benchmark.compare import METRICS, Benchmark, benchmark, dataset_folder
from medtrans.benchmark.conditions import Budget, Conditions, phantom_dataset
from medtrans.benchmark.schedule import places_here
from medtrans.benchmark.study import Study, read_study, typed_study
from medtrans.cohorts.recipe_file import override
from medtrans.errors import InputError


def compare_bundles(
    rows: Sequence[str],
    files: Sequence[Path],
    output: Path,
    *,
    dataset: Path | None,
    budget: tuple[int | None, int | None, float | None],
    seeds: str,
    baseline: str | None,
    only: str | None,
    modalities: tuple[str | None, str | None],
    overlays: Sequence[str],
    settings: Sequence[str],
    metrics: str | None,
    lpips_weights: Path | None,
    workers: int | None,
) -> Benchmark:
    """See :func:`medtrans.benchmark.compare.benchmark`; every argument is as it is typed.

    Raises:
        InputError: what was typed makes no benchmark.
    """
    limit = Budget(*budget)
    studies = only_rows(studies_of(rows, files, baseline), only.split(",") if only else [])
    source, target = modalities
    folder = dataset or phantom_dataset(studies[0].rows[0], tuple(overlays), source, target)
    conditions = Conditions(
        dataset_folder(folder),
        limit,
        source,
        target,
        tuple(overlays),
        dict(override(text) for text in settings),
        tuple(metrics.split(",")) if metrics else METRICS,
        lpips_weights.expanduser().resolve() if lpips_weights else None,
    )
    return benchmark(studies, conditions, output, numbers(seeds), places_here(workers))


def studies_of(rows: Sequence[str], files: Sequence[Path], baseline: str | None) -> list[Study]:
    """The study files, and a study of the rows that were typed.

    Raises:
        InputError: there is no row, two studies share a name, or no study has the baseline.
    """
    studies = [read_study(file, baseline) for file in files] + ([typed_study(rows, baseline)] if rows else [])
    names = [study.name for study in studies]
    if not studies:
        raise InputError("the rows", "are not given", "Name bundles, or a study with --study studies/paper_losses.json")
    if len(set(names)) < len(names):
        raise InputError(f"study {max(names, key=names.count)!r}", "is there twice", "Name its file otherwise")
    known = [row.name for study in studies for row in study.rows]
    if baseline is not None and baseline not in known:
        raise InputError(f"baseline {baseline!r}", "is no row", f"Choose one of {', '.join(known)}")
    return studies


def only_rows(studies: Sequence[Study], names: Sequence[str]) -> list[Study]:
    """The studies with no other rows than those called ``names``; all where none is named.

    Raises:
        InputError: there is no such row.
    """
    known = [row.name for study in studies for row in study.rows]
    for name in names:
        if name not in known:
            raise InputError(f"row {name!r}", "does not exist", f"Choose from {', '.join(known)}")
    kept = []
    for study in studies:
        if rows := tuple(row for row in study.rows if row.name in names or not names):
            baseline = study.baseline if study.baseline in [row.name for row in rows] else rows[0].name
            kept.append(replace(study, rows=rows, baseline=baseline))
    return kept


def numbers(text: str) -> list[int]:
    """``"0,1,2"`` -> ``[0, 1, 2]``.

    Raises:
        InputError: a part is no whole number, or one is there twice.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--seeds {text}", "is no list of whole numbers", "Write for example --seeds 0,1,2") from error
    if len(set(found)) < len(found):
        raise InputError(f"--seeds {text}", "has a number twice", "Write for example --seeds 0,1,2")
    return found
