"""Whether every row of the table can be read, every file it names, and whether the folder holds more than it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort
from medtrans.cohorts.doctor.findings import WARNING, Finding
from medtrans.cohorts.doctor.listing import Listing


class Files(Check):
    """Missing and unreadable files, malformed rows, cases listed twice, volumes that no row names."""

    name = "files"
    title = "missing, unreadable and forgotten files"
    order = 10

    def measure(self, case: CaseVolumes) -> dict[str, str]:
        """File -> why it cannot be read."""
        return dict(case.problems)

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Every fault, not only the first."""
        listing = cohort.listing
        for name, count in Counter(case.name for case in listing.cases).items():
            if count > 1:
                yield Finding("listed twice", f"stands in {count} rows", "Give every case its own name", case=name)
        for case in listing.cases:
            for fault in case.faults:
                yield Finding("malformed row", fault, "Prepare the case again, or mend cases.csv", case=case.name,
                              exclude=True)  # fmt: skip
        for name, problems in cohort.measured.items():
            for file, problem in problems.items():
                missing = "does not exist" in problem
                what = "missing file" if missing else "unreadable file"
                remedy = "Restore it, or prepare the case again"
                yield Finding(what, f"{file}: {problem}", remedy, case=name, modality=file, exclude=True)
        if not listing.recipe:
            remedy = "Training needs it: copy it from where the data set was made"
            yield Finding("no recipe", "recipe.json is missing or no JSON", remedy, WARNING, modality="recipe.json")
        yield from _forgotten(listing)


def _forgotten(listing: Listing) -> Iterator[Finding]:
    """A finding for each folder with volumes that no row names."""
    named = {path for case in listing.cases for path in case.all_files.values()}
    folders: Counter[str] = Counter()
    for path in listing.root.rglob("[!.]*.nii*"):
        place = path.relative_to(listing.root)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or place.parts[0] in listing.left_out or not re.search(r"\.nii(\.gz)?$", path.name):
            continue
        if path.resolve() not in named:
            folders[place.parent.as_posix()] += 1
    for folder, count in sorted(folders.items()):
        problem = f"{count} volume{'s' * (count > 1)} in {folder}/ that cases.csv does not name"
        remedy = "Delete them, or prepare again if they should count"
        yield Finding("forgotten volumes", problem, remedy, WARNING, other=folder, value=float(count))
