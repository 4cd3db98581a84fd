"""Pairs as a data set: arranged, prepared and split by subject; what an earlier training prepared is taken over."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrans.cohorts.aligned_case import RECORD
from medtrans.cohorts.prepare import prepare
from medtrans.cohorts.volumes import read_volume
from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.label.pair_recipe import PairRecipe
from medtrans.label.pairs import PairedCase, arrange

DATA_SET = "data_set"
IMAGES = "images.json"  # stamps of pairs whose target was found to be an image
LABELS = 64  # a map of more is hardly drawn, an image of fewer values hardly measured
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairData:
    """A data set of pairs.

    Attributes:
        root: its folder.
        training_subjects, validation_subjects: how many.
        failed: ``{"case", "reason"}`` of each pair that could not be used.
    """

    root: Path
    training_subjects: int
    validation_subjects: int
    failed: list[dict[str, str]]


def prepare_pairs(
    cases: Sequence[PairedCase], recipe: PairRecipe, folder: Path, val_split: float, workers: int | None = None
) -> PairData:
    """Prepare the pairs in ``folder``, or finish what a killed call began there.

    Args:
        cases: the pairs.
        recipe: how they are prepared.
        folder: for the data set, the recipe and links to the volumes; cases that lie finished in a folder beside it,
            of the same volumes and recipe, are taken over.
        val_split: share of the subjects that validate; at least one does, and at least one trains.
        workers: processes, see :func:`medtrans.jobs.local_workers`.

    Raises:
        InputError: pairs of fewer than two subjects can be used.
    """
    cases = _judged(cases, folder)
    usable = [case for case in cases if not case.problem]
    failed = [{"case": case.name, "reason": case.problem} for case in cases if case.problem]
    for row in failed:
        logger.warning("%s: %s", row["case"], row["reason"])
    _check_enough(cases, {case.subject for case in usable}, failed)
    for case in usable:
        _take_over(case.name, folder)
    arrange(usable, folder / "pairs")
    table = _prepare(recipe, folder, {"validation": val_split, "test": 0.0}, workers)
    bad = table[table["status"] == "failed"]
    failed += [{"case": str(row["case"]), "reason": str(row["reason"])} for row in bad.to_dict("records")]
    subjects = sorted(set(table["subject"][table["status"] == "ok"]))
    _check_enough(cases, subjects, failed)
    if len(subjects) == 2:  # of two, no share would make one validate
        sides = dict.fromkeys(table["subject"], "train") | {subjects[1]: "validation"}
        _prepare(recipe, folder, {"subjects": sides}, workers)
    splits = pd.read_csv(folder / DATA_SET / "cases.csv", dtype=str).groupby("split")["subject"].nunique()
    return PairData(folder / DATA_SET, int(splits["train"]), int(splits["validation"]), failed)


def _judged(cases: Sequence[PairedCase], folder: Path) -> list[PairedCase]:
    """The cases with what is wrong with their targets; files that were found to be images before are not read again."""
    known: set[str] = set()
    for path in folder.parent.glob(f"*/{IMAGES}"):
        with contextlib.suppress(OSError, ValueError):
            known |= {json.dumps(stamp) for stamp in json.loads(path.read_text(encoding="utf-8"))}
    found, images = [], []
    for case in cases:
        stamp = json.dumps(case.stamp())
        problem = case.problem or (None if stamp in known else _problem_of_target(case.volumes["label"]))
        found.append(replace(case, problem=problem or ""))
        if stamp in known or problem == "":
            images.append(json.loads(stamp))
    _write(folder / IMAGES, images)
    return found


def _problem_of_target(path: Path) -> str | None:
    """What is wrong with it: a viewer hands in drawn labels in the same way. None where `prepare` will say why."""
    try:
        values = np.unique(read_volume(path).values[::2, ::2, ::2])
    except InputError:
        return None
    few = len(values) <= LABELS and (values == np.round(values)).all()
    return f"the target is a map of labels ({len(values)} values), not an image" if few else ""


def _check_enough(cases: Sequence[PairedCase], subjects: Collection[str], failed: list[dict[str, str]]) -> None:
    if len(subjects) < 2:
        why = f", of which {len(failed)} cannot be used ({failed[0]['reason'].rstrip('.')})" if failed else ""
        problem = f"hold {len(cases)} pairs of image and target{why}"
        raise InputError("the studies", problem, "It takes pairs of two subjects: one to train on, one to validate")


def _prepare(recipe: PairRecipe, folder: Path, split: dict[str, Any], workers: int | None) -> pd.DataFrame:
    _write(folder / "recipe.json", recipe.record | {"split": split})
    return prepare(folder / "recipe.json", folder / "pairs", folder / DATA_SET, workers=workers)


def _write(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _take_over(case: str, folder: Path) -> None:
    """Link what another training prepared for this case; ``prepare`` judges whether it is of these files."""
    root = folder / DATA_SET
    if (root / case / RECORD).is_file():
        return
    records = sorted(folder.parent.glob(f"*/{DATA_SET}/{case}/{RECORD}"), key=lambda path: path.stat().st_mtime)
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        other = records[-1].parents[1]
        files = json.loads(records[-1].read_text(encoding="utf-8"))["files"].values()
        for name in (f"qa/{case}.png", *files, f"{case}/{RECORD}"):  # the record says that all others are there
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).unlink(missing_ok=True)
            os.link(other / name, root / name)
