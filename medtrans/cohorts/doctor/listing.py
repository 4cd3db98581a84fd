"""Everything cases.csv lists, in spite of what is wrong with it: faults are collected, none ends the reading."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from medtrans.cohorts.cases import RESERVED, SPLITS
from medtrans.cohorts.exclusion import excluded_cases
from medtrans.errors import InputError
from medtrans.transforms.window import Window

NEEDED = ("case", "subject", "split")


@dataclass(frozen=True)
class Listed:
    """A row of ``cases.csv``: a :class:`medtrans.cohorts.Case` that need not be right.

    Args:
        name: the case.
        subject: who.
        split: as written, maybe none of the three.
        files: modality -> absolute path, maybe of nothing.
        windows: modality -> window, those that can be read.
        mask: path of the body mask, if one is named.
        label: path of the label map, if one is named.
        spacing: mm, empty when the row does not say.
        shape: voxels, empty when the row does not say.
        faults: what is wrong with the row itself, one sentence each.
    """

    name: str
    subject: str
    split: str
    files: Mapping[str, Path]
    windows: Mapping[str, Window]
    mask: Path | None = None
    label: Path | None = None
    spacing: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def all_files(self) -> dict[str, Path]:
        """Every named file: the modalities, ``mask`` and ``label``."""
        extra = {name: path for name, path in (("mask", self.mask), ("label", self.label)) if path is not None}
        return {**self.files, **extra}


@dataclass(frozen=True)
class Listing:
    """The data set as its table and recipe tell it.

    Args:
        root: the folder.
        cases: the rows that count, in order.
        left_out: case -> why it does not count (``exclude.csv``, or a ``status`` other than ``ok``).
        recipe: ``recipe.json``, empty when there is none that can be read.
    """

    root: Path
    cases: tuple[Listed, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def modalities(self) -> list[str]:
        """Every modality of some case, in order of first appearance."""
        return list(dict.fromkeys(modality for case in self.cases for modality in case.files))

    def entry(self, modality: str) -> dict[str, Any]:
        """The recipe's section on ``modality``; empty where it says nothing."""
        sections = self.recipe.get("modalities")
        section = sections.get(modality) if isinstance(sections, dict) else None
        return dict(section) if isinstance(section, dict) else {}

    def kind(self, modality: str) -> str:
        """``"CT"``, ``"PET"`` or ``"MR"``: by the recipe, else by name."""
        return str(self.entry(modality).get("kind") or (modality if modality in ("CT", "PET") else "MR"))


def read_listing(root: str | os.PathLike[str]) -> Listing:
    """Read ``cases.csv``, ``exclude.csv`` and ``recipe.json``.

    Raises:
        InputError: there is no table, or it lacks the columns without which nothing can be checked.
    """
    folder = Path(root).expanduser().resolve()
    table = folder / "cases.csv"
    if not table.is_file():
        raise InputError(root, "is not a data set (it has no cases.csv)", "Make one with `medtrans prepare`")
    try:
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(table, f"cannot be read ({error})", "Prepare the data set again") from error
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        raise InputError(table, f"lacks the column(s) {', '.join(missing)}", "Prepare the data set again")
    rows = [{str(k): str(v) for k, v in row.items()} for row in frame.to_dict("records")]
    left_out = excluded_cases(folder)
    for row in rows:
        if row.get("status", "ok") != "ok":
            left_out.setdefault(row["case"], row.get("reason") or f"its status is {row['status']}")
    cases = tuple(_listed(folder, row) for row in rows if row["case"] not in left_out)
    if not cases:
        raise InputError(table, "lists no case", "Prepare the data set again, or shorten exclude.csv")
    return Listing(folder, cases, left_out, _recipe(folder / "recipe.json"))


def _listed(root: Path, row: Mapping[str, str]) -> Listed:
    files = {k: (root / v).resolve() for k, v in row.items() if k not in RESERVED and v}
    extra = {k: (root / row[k]).resolve() if row.get(k) else None for k in ("mask", "label")}
    faults: list[str] = []
    if row["split"] not in SPLITS:
        faults.append(f"its split is {row['split']!r}, not one of {', '.join(SPLITS)}")
    if not files:
        faults.append("it names no volume at all")
    windows = _windows(row, files, faults)
    spacing: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    try:
        spacing = tuple(float(value) for value in row.get("spacing", "").split())
        shape = tuple(int(value) for value in row.get("shape", "").split())
    except ValueError:
        faults.append(f"its spacing {row.get('spacing')!r} or shape {row.get('shape')!r} is malformed")
    return Listed(
        row["case"], row["subject"], row["split"], files, windows, extra["mask"], extra["label"], spacing, shape,
        tuple(faults),
    )  # fmt: skip


def _windows(row: Mapping[str, str], files: Mapping[str, Path], faults: list[str]) -> dict[str, Window]:
    """The windows that can be read; a fault for each volume without one."""
    try:
        records = json.loads(row.get("intensity") or "{}")
        records = records if isinstance(records, dict) else {}
    except ValueError:
        records = {}
        faults.append("its intensity is no JSON")
    windows: dict[str, Window] = {}
    for modality in files:
        try:
            windows[modality] = Window(**records[modality])
        except KeyError:
            faults.append(f"no intensity window is recorded for {modality}")
        except (TypeError, ValueError) as error:
            faults.append(f"the intensity window of {modality} is malformed ({error})")
    return windows


def _recipe(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
