"""What was removed and what to look at, without any value of the files: report.csv and report.md."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from medtrans.files import written_whole
from medtrans.scans.deidentify.headers import Tally
from medtrans.scans.deidentify.profile import EDITION, Choices

COLUMNS = ("tag", "attribute", "action", "count")
NOT_DONE = """## What nobody has done

- **Pixels were not looked at.** Text burned into them is suspected by headers only (listed above).
- **Faces were not removed.** From a head CT or MR a face can be made; series that may hold one are listed above and
  marked RecognizableVisualFeatures YES.
- **Free text of attributes that PS3.15 lets stay** was searched for the patient's own names, numbers and dates of
  birth as the header gives them, not for other people's, nicknames or misspellings.
- **Who has the key can link this to the originals.** It is not in this folder, and must not come here.
"""


def write_report(folder: Path, tally: Tally, rows: Iterable[Mapping[str, str]], choices: Choices) -> None:
    """Write ``folder/report.csv`` and ``folder/report.md``."""
    counted = sorted((*key, count) for key, count in tally.items())
    with written_whole(folder / "report.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(counted)
    with written_whole(folder / "report.md") as temporary:
        temporary.write_text(_told(counted, [*rows], choices), encoding="utf-8")


def _told(counted: Sequence[tuple[str, str, str, int]], rows: Sequence[Mapping[str, str]], choices: Choices) -> str:
    statuses = Counter(row["status"] for row in rows)
    parts = [
        "# De-identification\n",
        f"DICOM PS3.15 Annex E, Basic Application Level Confidentiality Profile, edition {EDITION}, with\n",
        *(f"- {value} {meaning}" for value, meaning in choices.codes),
        "",
        _table(("files", "count"), sorted(statuses.items())),
        "## Not written\n",
        _table(("reason", "files"), _reasons(rows)) or "Nothing was left out.\n",
        "## Text that may be burned into pixels\n",
        _series(rows, "burned_in") or "Nothing is suspected.\n",
        "## Faces\n",
        _series(rows, "face") or "None are suspected.\n",
        NOT_DONE,
        "## Attributes\n",
        _table(COLUMNS, counted),
    ]
    return "\n".join(parts)


def _reasons(rows: Sequence[Mapping[str, str]]) -> list[tuple[str, int]]:
    left_out = Counter(f"{row['status']}: {row['reason']}" for row in rows if row["status"] not in ("written", "kept"))
    return sorted(left_out.items())


def _series(rows: Sequence[Mapping[str, str]], column: str) -> str:
    """A table of the series for which a column says something."""
    found = Counter(
        ("/".join(row[name] for name in ("patient", "study", "series") if row[name]), row[column], row["status"])
        for row in rows
        if row[column]
    )
    return _table(("series", "why", "status", "files"), [(*key, count) for key, count in sorted(found.items())])


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)
