"""The run of a recipe: every case of a folder into one data set, failures recorded, finished cases kept."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtrans.cohorts.aligned_case import CaseJob, fingerprint, finished_case, prepare_case, remove_case
from medtrans.cohorts.cases import RESERVED, Case, Cases
from medtrans.cohorts.recipe import Recipe
from medtrans.cohorts.recipe_checks import refuse
from medtrans.cohorts.selection import Candidate, select
from medtrans.cohorts.splits import record_splits, recorded_splits
from medtrans.errors import InputError
from medtrans.files import check_writable, written_whole
from medtrans.jobs import local_workers, reason, run_jobs
from medtrans.progress import progress
from medtrans.transforms.window import Window

logger = logging.getLogger(__name__)
Records = dict[str, dict[str, Any]]


def prepare(
    recipe: str | os.PathLike[str],
    source: str | os.PathLike[str],
    dataset: str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> pd.DataFrame:
    """Prepare every case in ``source`` by ``recipe`` and write the data set.

    ``dataset`` then holds ``cases.csv`` (the good cases, see :class:`medtrans.cohorts.Cases`), ``prepare.csv`` (every
    case, good or failed), ``recipe.json`` (as run, defaults filled in), ``splits.json``, ``qa/<case>.png`` and a folder
    a case. A case that an earlier run finished is kept when neither the recipe nor its files have changed.

    Args:
        recipe: the recipe's path.
        source: output of ``medtrans convert``, or any folder of NIfTI files that the recipe's patterns match.
        dataset: the folder to write.
        overrides: recipe id -> value.
        seed: takes the place of the recipe's.
        workers: local processes, see :func:`medtrans.jobs.local_workers`.
        scheduler: address of a Dask scheduler.

    Returns:
        What ``prepare.csv`` says: case, subject, status (``ok`` or ``failed``), reason, warnings, seconds,
        kept, and for every modality its alignment.

    Raises:
        InputError: the run cannot start.
    """
    plan, folder, root = Recipe.read(recipe, overrides, seed), Path(source).resolve(), Path(dataset).resolve()
    for name in plan.modalities:
        if name in RESERVED or Path(name).name != name:
            raise refuse(Path(recipe), f"modalities#{name}", "is no possible name", "Rename the modality")
    if folder.is_relative_to(root):
        raise InputError(root, "is or holds the input", "Give the data set a folder of its own")
    check_writable(root)
    candidates = [_with_split(candidate, plan) for candidate in select(plan, folder, leave_out=root)]
    records, failures = _run(plan, candidates, folder, root, workers, scheduler)
    failures |= _leaks(candidates, records)
    for name in failures:
        remove_case(root, name)
    return _write(root, plan, candidates, {n: r for n, r in records.items() if n not in failures}, failures)


def _with_split(candidate: Candidate, plan: Recipe) -> Candidate:
    """The candidate, refused when an explicit table of splits does not name its subject."""
    if candidate.problem or not plan.split.table or candidate.subject in plan.split.table:
        return candidate
    return Candidate(
        candidate.name, candidate.subject, problem="the recipe's table of splits does not name this subject"
    )


def _run(
    plan: Recipe, candidates: Sequence[Candidate], folder: Path, root: Path, workers: int | None, scheduler: str | None
) -> tuple[Records, dict[str, str]]:
    """Prepare what is not finished; returns the records by case, and the reasons of those that failed."""
    failures = {candidate.name: candidate.problem for candidate in candidates if candidate.problem}
    records: Records = {}
    jobs: list[CaseJob] = []
    for candidate in candidates:
        if not candidate.problem:
            mark = fingerprint(candidate, plan, folder)
            done = finished_case(root, candidate.name, mark)
            if done is not None:
                records[candidate.name] = done | {"kept": True}
            else:
                jobs.append(CaseJob(candidate, plan, root, mark))
    workers = local_workers(len(jobs), workers)
    if scheduler is None and workers == 1:
        jobs = [CaseJob(job.candidate, plan, root, job.fingerprint, threads=0) for job in jobs]
    if records:
        logger.info("%d of %d cases are finished already", len(records), len(candidates))
    for job, result in progress(run_jobs(prepare_case, jobs, workers, scheduler), "preparing", total=len(jobs)):
        name = job.candidate.name
        if isinstance(result, Exception):
            failures[name] = reason(result).replace(f"{folder}{os.sep}", "")  # as everything the table says
            logger.warning("%s: %s", name, failures[name])
        else:
            records[name] = result | {"kept": False}
            if result["row"]["warnings"]:
                logger.warning("%s: %s", name, result["row"]["warnings"])
    return records, failures


def _leaks(candidates: Sequence[Candidate], records: Records) -> dict[str, str]:
    """Cases whose voxels belong to another subject as well: one patient under two names could reach two splits."""
    owner: dict[str, str] = {}
    found: dict[str, str] = {}
    for candidate in candidates:
        for modality, origin in records.get(candidate.name, {"sources": {}})["sources"].items():
            first = owner.setdefault(origin["voxels"], candidate.subject)
            if first != candidate.subject:
                found[candidate.name] = f"its {modality} is voxel by voxel that of subject {first}: give both one name"
    return found


def _write(
    root: Path, plan: Recipe, candidates: Sequence[Candidate], records: Records, failures: Mapping[str, str]
) -> pd.DataFrame:
    """Write the tables, ``cases.csv`` last; an old one does not survive a run without a good case."""
    subjects = {candidate.name: candidate.subject for candidate in candidates}
    splits = plan.split.assign((subjects[name] for name in records), recorded_splits(root, plan.split))
    table = pd.DataFrame(
        [
            {"case": name, "subject": subject, "status": "failed" if name in failures else "ok"}
            | {"reason": failures.get(name, "")}
            | {"kept": records[name]["kept"] if name in records else False}
            | (records[name]["row"] if name in records else {})
            for name, subject in subjects.items()
        ]
    )
    _write_text(root / "recipe.json", json.dumps(plan.record, indent=2) + "\n")
    with written_whole(root / "prepare.csv") as temporary:
        table.to_csv(temporary, index=False)
    if not records:
        (root / "cases.csv").unlink(missing_ok=True)
        return table
    record_splits(root, plan.split, splits)
    cases = tuple(_case(root, name, subjects[name], splits, records[name]) for name in subjects if name in records)
    Cases(root, cases).write()
    return table


def _write_text(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _case(root: Path, name: str, subject: str, splits: Mapping[str, str], record: Mapping[str, Any]) -> Case:
    """The row of ``cases.csv`` for one finished case."""
    paths = {key: root / file for key, file in record["files"].items()}
    return Case(
        name=name,
        subject=subject,
        split=splits[subject],
        volumes={key: path for key, path in paths.items() if key not in ("mask", "label")},
        windows={modality: Window(**window) for modality, window in record["windows"].items()},
        mask=paths["mask"],
        label=paths.get("label"),
        spacing=tuple(record["spacing"]),
        shape=tuple(record["shape"]),
    )


def summary(table: pd.DataFrame, dataset: Path) -> str:
    """What a run did, in a few lines; the first failures with their reasons."""
    failed = table[table["status"] == "failed"]
    kept = int(table["kept"].sum())
    good = len(table) - len(failed)
    lines = [
        f"{good} of {len(table)} cases prepared in {dataset}" + (f", {kept} of them kept from before" * bool(kept))
    ]
    lines += [f"failed: {row['case']}: {row['reason']}" for row in failed.head(10).to_dict("records")]
    return "\n".join([*lines, *([f"all failures: {dataset / 'prepare.csv'}"] if len(failed) > 10 else [])])
