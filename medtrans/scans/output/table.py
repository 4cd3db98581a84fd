"""The table of everything that was found: as ``series.csv``, and on a terminal."""

from __future__ import annotations

import csv
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]  # what stands in COLUMNS, and nothing else
COLUMNS = ("patient", "study", "series", "modality", "description", "files", "slices", "shape", "spacing", "unit",
           "frame", "status", "reason", "path")  # fmt: skip
SHOWN = ("status", "series", "files", "slices", "shape", "spacing", "reason")
NARROWEST = 24  # characters for the reason, however narrow the terminal


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of patient, study and series; files of nobody last."""
    by = ("patient", "study", "series", "status", "reason")
    return sorted(rows, key=lambda row: (row["patient"] == "", *(row[name] for name in by)))


def write_table(rows: Iterable[Row], path: Path) -> None:
    """The rows as CSV, by Python's own means: importing pandas takes as long as converting a small series."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as a pandas table."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS))


def filled(row: Row, fields: dict[str, Any]) -> Row:
    """``row`` with what the ``fields`` of a volume's sidecar say."""
    from medtrans.scans.output.sidecar import full_description

    return row | {
        "description": full_description(fields),
        "modality": fields["Modality"],
        "slices": fields["slices"],
        "shape": "x".join(map(str, fields["shape"])),
        "spacing": "x".join(f"{value:g}" for value in fields["spacing_mm"]),
        "unit": fields.get("unit", ""),
    }


def summary(rows: Sequence[Row]) -> str:
    """``46 files: 4 converted, 13 skipped, 2 failed``, or in a dry run what would be."""
    count = Counter(row["status"] for row in rows)
    words: tuple[str, ...] = ("converted", "skipped", "failed")
    if {"to convert", "kept", "would fail"} & {*count}:
        words = ("to convert", "kept", "skipped", "would fail")
    return f"{sum(row['files'] for row in rows)} files: " + ", ".join(f"{count[word]} {word}" for word in words)


def full_name(row: Row) -> str:
    """``patient-001/study-01/301-CT``, as far as it is known."""
    return "/".join(row[part] for part in ("patient", "study", "series") if row[part])


def shown(rows: Iterable[Row], width: int) -> str:
    """The table for a terminal of ``width`` columns; long reasons run over several lines."""
    cells = [[str(full_name(row) if name == "series" else row[name]) for name in SHOWN] for row in rows]
    widths = [max(len(line[n]) for line in [list(SHOWN), *cells]) for n in range(len(SHOWN) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for line in [list(SHOWN), *cells]:
        start = "".join(f"{cell:>{size}}  " if name in ("files", "slices") else f"{cell:<{size}}  "
                        for name, cell, size in zip(SHOWN, line, widths, strict=False))  # fmt: skip
        reason = textwrap.wrap(line[-1], max(width - indent, NARROWEST)) or [""]
        lines += [(start if n == 0 else " " * indent) + text for n, text in enumerate(reason)]
    return "\n".join(line.rstrip() for line in lines)
