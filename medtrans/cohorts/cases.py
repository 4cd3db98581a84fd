"""The cases table of a data set: who is in it, in which split, with which volumes and intensity windows."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from medtrans.cohorts.exclusion import FILE as EXCLUDED
from medtrans.cohorts.exclusion import excluded_cases
from medtrans.errors import InputError
from medtrans.files import written_whole
from medtrans.transforms.window import Window

logger = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
RESERVED = ("case", "subject", "split", "mask", "label", "spacing", "shape", "intensity", "status", "reason")


@dataclass(frozen=True)
class Case:
    """One row: one imaging session of one subject, every modality on the same grid.

    Args:
        name: unique in the data set.
        subject: who; splits are by subject.
        split: one of :data:`SPLITS`.
        volumes: modality -> absolute path of its NIfTI volume, in physical units.
        windows: modality -> the interval that becomes [-1, 1].
        mask: body mask on the same grid (uint8, 0 or 1), if there is one.
        label: tissue or organ label map on the same grid, if there is one.
        spacing: millimetres per voxel along the three axes.
        shape: voxels along the three axes.
    """

    name: str
    subject: str
    split: str
    volumes: Mapping[str, Path]
    windows: Mapping[str, Window]
    mask: Path | None = None
    label: Path | None = None
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    shape: tuple[int, ...] = ()

    def has(self, modalities: Sequence[str]) -> bool:
        """Whether every one of ``modalities`` is present."""
        return all(modality in self.volumes for modality in modalities)


@dataclass(frozen=True)
class Cases:
    """The cases of the data set in ``root``; read with :meth:`read`, written with :meth:`write`."""

    root: Path
    cases: tuple[Case, ...] = field(default_factory=tuple)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def modalities(self) -> list[str]:
        """Every modality that some case has, in order of first appearance."""
        return list(dict.fromkeys(modality for case in self.cases for modality in case.volumes))

    def of_split(self, split: str) -> Cases:
        """The cases of one split (``"all"`` for every case).

        Raises:
            InputError: ``split`` is not a split, or no case is in it.
        """
        if split not in (*SPLITS, "all"):
            raise InputError(f"split {split!r}", "does not exist", f"Choose one of {', '.join(SPLITS)}, all")
        chosen = tuple(case for case in self.cases if split in (case.split, "all"))
        if not chosen:
            raise InputError(self.root / "cases.csv", f"has no case in the {split} split", "Prepare more subjects")
        return Cases(self.root, chosen)

    @classmethod
    def read(cls, root: str | os.PathLike[str]) -> Cases:
        """Read ``root/cases.csv``, without the cases that ``root/exclude.csv`` leaves out.

        Raises:
            InputError: there is no table, a column is missing or malformed, a volume is absent, a case is listed
                twice, or a subject is in more than one split.
        """
        root = Path(root).expanduser()
        table = root / "cases.csv"
        if not table.is_file():
            raise InputError(root, "is not a data set (it has no cases.csv)", "Make one with `medtrans prepare`")
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)
        missing = [column for column in ("case", "subject", "split", "intensity") if column not in frame]
        if missing:
            raise InputError(table, f"lacks the column(s) {', '.join(missing)}", "Prepare the data set again")
        rows: list[dict[str, str]] = [{str(k): str(v) for k, v in row.items()} for row in frame.to_dict("records")]
        left_out = excluded_cases(root)
        kept = [row for row in rows if row.get("status", "ok") == "ok" and row["case"] not in left_out]
        if excluded := len({row["case"] for row in rows} & set(left_out)):
            logger.info("%s leaves out %d of %d cases", root / EXCLUDED, excluded, len(rows))
        cases = tuple(_case(root, table, row) for row in kept)
        _check_subjects(table, cases)
        return cls(root.resolve(), cases)

    def write(self) -> Path:
        """Write ``root/cases.csv`` (paths relative to ``root``) and return its path."""
        table = self.root / "cases.csv"
        with written_whole(table) as temporary:
            pd.DataFrame([self._row(case) for case in self.cases]).to_csv(temporary, index=False)
        return table

    def _row(self, case: Case) -> dict[str, str]:
        def relative(path: Path | None) -> str:
            return "" if path is None else Path(os.path.relpath(path, self.root)).as_posix()

        return {
            "case": case.name,
            "subject": case.subject,
            "split": case.split,
            **{modality: relative(case.volumes.get(modality)) for modality in self.modalities},
            "mask": relative(case.mask),
            "label": relative(case.label),
            "spacing": " ".join(f"{value:g}" for value in case.spacing),
            "shape": " ".join(str(value) for value in case.shape),
            "intensity": json.dumps({modality: window.record() for modality, window in case.windows.items()}),
        }


def _case(root: Path, table: Path, row: dict[str, str]) -> Case:
    """One row of ``table`` as a case, refused when it does not say what it must."""
    where = f"{table} (case {row['case']})"
    volumes = {k: (root / v).resolve() for k, v in row.items() if k not in RESERVED and v}
    extra = {k: (root / row[k]).resolve() if row.get(k) else None for k in ("mask", "label")}
    for path in (*volumes.values(), *(path for path in extra.values() if path)):
        if not path.is_file():
            raise InputError(
                path, f"is listed for case {row['case']} but does not exist", f"Restore it or edit {table}"
            )
    if row["split"] not in SPLITS:
        raise InputError(where, f"has the split {row['split']!r}", f"Use one of {', '.join(SPLITS)}")
    try:
        windows = {modality: Window(**record) for modality, record in json.loads(row["intensity"] or "{}").items()}
        spacing = tuple(float(value) for value in row.get("spacing", "").split())
        shape = tuple(int(value) for value in row.get("shape", "").split())
    except (ValueError, TypeError) as error:
        raise InputError(where, f"has a malformed intensity, spacing or shape ({error})", "Prepare it again") from error
    unknown = sorted(set(volumes) - set(windows))
    if unknown:
        raise InputError(where, f"records no intensity window for {', '.join(unknown)}", "Prepare it again")
    return Case(
        row["case"], row["subject"], row["split"], volumes, windows, extra["mask"], extra["label"], spacing, shape
    )


def _check_subjects(table: Path, cases: Sequence[Case]) -> None:
    """Refuse a case listed twice and a subject in two splits."""
    seen: dict[str, str] = {}
    names: set[str] = set()
    for case in cases:
        if case.name in names:
            raise InputError(table, f"lists the case {case.name} twice", "Give every case its own name")
        names.add(case.name)
        if seen.setdefault(case.subject, case.split) != case.split:
            raise InputError(
                table, f"puts the subject {case.subject} into two splits", "Keep every subject in one split"
            )
