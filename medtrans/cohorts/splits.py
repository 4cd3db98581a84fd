"""Who trains, validates and tests: by subject, seeded, recorded, and the same again when subjects are added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medtrans.cohorts.cases import SPLITS
from medtrans.cohorts.recipe_checks import check_keys, number, refuse
from medtrans.errors import InputError
from medtrans.files import written_whole

RECORD = "splits.json"


@dataclass(frozen=True)
class SplitRule:
    """Fractions and a seed, or an explicit table.

    Args:
        validation: share of the subjects that validate.
        test: share of the subjects that test.
        seed: decides who is drawn.
        table: subject -> split; when not empty, it alone decides.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    table: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, section: Any, seed: float) -> SplitRule:
        """The ``split`` section of the recipe at ``path``; a ``table`` is a CSV file beside it (subject, split).

        Raises:
            InputError: the fractions leave nobody to train, or the table is unusable.
        """
        check_keys(path, "split", section, ("validation", "test", "table", "subjects"))
        if "table" in section or "subjects" in section:
            table = dict(section.get("subjects") or {}) or _read_table(path.parent / section["table"])
            for subject, split in table.items():
                if split not in SPLITS:
                    raise refuse(path, "split", f"puts {subject} into {split!r}", f"Use one of {', '.join(SPLITS)}")
            return cls(seed=int(seed), table={str(subject): split for subject, split in table.items()})
        validation = number(path, "split#validation", section.get("validation", 0.0), least=0)
        test = number(path, "split#test", section.get("test", 0.0), least=0)
        if validation + test >= 1:
            raise refuse(path, "split", "leaves nobody to train", "Let validation and test add up to less than 1")
        return cls(validation, test, int(seed))

    def assign(self, subjects: Iterable[str], recorded: Mapping[str, str] | None = None) -> dict[str, str]:
        """Subject -> split.

        Subjects are drawn in an order that depends on the seed and their name alone. Recorded subjects stay where
        they are; each new one goes where most are missing. With three subjects or more, every split whose fraction
        is not 0 has at least one; with fewer, all train.

        Raises:
            InputError: the explicit table does not name a subject.
        """
        everyone = sorted(set(subjects), key=self._rank)
        if self.table:
            return {subject: self._looked_up(subject) for subject in everyone}
        kept = {subject: split for subject, split in (recorded or {}).items() if subject in everyone}
        wanted = self._counts(len(everyone))
        for subject in everyone:
            if subject not in kept:
                have = list(kept.values())
                kept[subject] = max(("test", "validation", "train"), key=lambda s: wanted[s] - have.count(s))
        return kept

    def _counts(self, total: int) -> dict[str, int]:
        """How many subjects each split is to have."""
        if total < 3:
            return {"train": total, "validation": 0, "test": 0}
        held = {
            name: max(1, round(share * total)) if share > 0 else 0
            for name, share in (("validation", self.validation), ("test", self.test))
        }
        while sum(held.values()) >= total:  # somebody has to train
            held[max(held, key=lambda name: held[name])] -= 1
        return {"train": total - sum(held.values()), **held}

    def _rank(self, subject: str) -> str:
        return hashlib.sha256(f"{self.seed}\n{subject}".encode()).hexdigest()

    def _looked_up(self, subject: str) -> str:
        if subject not in self.table:
            raise InputError(f"subject {subject}", "has no split in the recipe's table", "Add it to the table")
        return self.table[subject]


def _read_table(path: Path) -> dict[str, str]:
    """Subject -> split from a CSV file."""
    import pandas as pd

    if not path.is_file():
        raise InputError(path, "does not exist", "Give the table of splits beside the recipe")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"subject", "split"} <= set(frame):
        raise InputError(path, "has no columns subject and split", "Name its columns subject,split")
    twice = frame.groupby("subject")["split"].nunique()
    for subject in twice[twice > 1].index:
        raise InputError(path, f"puts the subject {subject} into two splits", "Keep every subject in one split")
    return dict(zip(frame["subject"], frame["split"], strict=True))


def recorded_splits(dataset: Path, rule: SplitRule) -> dict[str, str]:
    """The splits of an earlier run by the same rule, else none."""
    try:
        record = json.loads((dataset / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(record["subjects"]) if record.get("rule") == asdict(rule) else {}


def record_splits(dataset: Path, rule: SplitRule, splits: Mapping[str, str]) -> None:
    """Write who is in which split, and by which rule."""
    with written_whole(dataset / RECORD) as temporary:
        temporary.write_text(json.dumps({"rule": asdict(rule), "subjects": dict(splits)}, indent=1) + "\n", "utf-8")
