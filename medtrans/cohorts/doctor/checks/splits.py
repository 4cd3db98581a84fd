"""Whether training, validation and test are apart, not empty, and of the sizes the recipe asks for."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

from medtrans.cohorts.cases import SPLITS
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import ERROR, WARNING, Finding
from medtrans.cohorts.doctor.listing import Listing


class Splits(Check):
    """Subjects in two splits, subjects that differ only in spelling, empty splits, unexpected shares."""

    name = "splits"
    title = "subjects in two splits, empty splits, shares"
    order = 20
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "share": Threshold(0.1, "", "how far a split's share of the subjects may be from the recipe's")
    }

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """From the table alone."""
        yield from _leaks(cohort.listing)
        yield from _spellings(cohort.listing)
        splits = {case.subject: case.split for case in cohort.listing.cases}
        count = Counter(splits.values())
        for split in SPLITS:
            if not count[split]:
                severity = ERROR if split == "train" else WARNING
                remedy = "Prepare more subjects, or give the recipe a table of splits"
                yield Finding("empty split", f"nobody is in {split}", remedy, severity, other=split, value=0)
        yield from self._shares(cohort.listing, count)

    def _shares(self, listing: Listing, count: Counter[str]) -> Iterator[Finding]:
        rule, total = listing.recipe.get("split"), sum(count.values())
        if not isinstance(rule, dict) or "table" in rule or "subjects" in rule or total < 3:
            return
        for split in ("validation", "test"):
            wanted, share = float(rule.get(split) or 0), count[split] / total
            limit = self.limit["share"] + 1 / total
            if abs(share - wanted) > limit:
                problem = f"{count[split]} of {total} subjects are in {split}, the recipe asks for {100 * wanted:.0f} %"
                remedy = "Delete splits.json and prepare again, if nothing was trained yet"
                yield Finding(
                    "unexpected share", problem, remedy, WARNING, other=split, value=abs(share - wanted), limit=limit
                )


def _leaks(listing: Listing) -> Iterator[Finding]:
    """A finding for every case outside its subject's first split."""
    first: dict[str, str] = {}
    for case in listing.cases:
        home = first.setdefault(case.subject, case.split)
        if case.split != home:
            problem = f"its subject is in {case.split} and in {home} as well"
            remedy = "Keep every subject in one split"
            yield Finding("subject in two splits", problem, remedy, case=case.name, other=home, exclude=True)


def _spellings(listing: Listing) -> Iterator[Finding]:
    """Subjects in different splits whose names differ in case, zeros and punctuation only."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for case in listing.cases:
        parts = re.findall(r"[a-z]+|\d+", case.subject.lower())
        plain = " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)
        groups[plain or case.subject].setdefault(case.subject, case.split)
    for subjects in groups.values():
        if len(set(subjects.values())) > 1:
            told = ", ".join(f"{subject} ({split})" for subject, split in subjects.items())
            remedy = "If they are one person, give them one name and prepare again"
            yield Finding("subjects spelt alike", f"{told} differ in spelling only", remedy, WARNING)
