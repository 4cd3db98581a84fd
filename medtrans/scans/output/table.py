"""The table of everything that was found: as ``series.csv``, and on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("patient", "study", "series", "modality", "description", "files", "slices", "shape", "spacing", "unit",
           "frame", "status", "reason", "path")  # fmt: skip
SHOWN = ("status", "series", "files", "slices", "shape", "spacing", "reason")
NARROWEST = 24  # characters for the reason, however narrow the terminal


def table_of(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows in the order of patient, study and series; files of nobody last."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    by = ["nobody", "patient", "study", "series", "status", "reason"]
    table = table.assign(nobody=table["patient"] == "").sort_values(by, kind="stable")
    return table.drop(columns="nobody").reset_index(drop=True)


def filled(row: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
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


def summary(table: pd.DataFrame) -> str:
    """``46 files: 4 converted, 13 skipped, 2 failed``, or in a dry run what would be."""
    count = table["status"].value_counts()
    words: tuple[str, ...] = ("converted", "skipped", "failed")
    if {"to convert", "kept", "would fail"} & {*count.index}:
        words = ("to convert", "kept", "skipped", "would fail")
    return f"{table['files'].sum()} files: " + ", ".join(f"{count.get(word, 0)} {word}" for word in words)


def shown(table: pd.DataFrame, width: int) -> str:
    """The table for a terminal of ``width`` columns; long reasons run over several lines."""
    cells = [list(map(str, row)) for row in _shown_rows(table)]
    widths = [max(len(line[n]) for line in [list(SHOWN), *cells]) for n in range(len(SHOWN) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for line in [list(SHOWN), *cells]:
        start = "".join(f"{cell:>{size}}  " if name in ("files", "slices") else f"{cell:<{size}}  "
                        for name, cell, size in zip(SHOWN, line, widths, strict=False))  # fmt: skip
        reason = textwrap.wrap(line[-1], max(width - indent, NARROWEST)) or [""]
        lines += [(start if n == 0 else " " * indent) + text for n, text in enumerate(reason)]
    return "\n".join(line.rstrip() for line in lines)


def _shown_rows(table: pd.DataFrame) -> Iterable[Sequence[Any]]:
    for row in table.itertuples():
        name = "/".join(str(part) for part in (row.patient, row.study, row.series) if part)
        yield row.status, name, row.files, row.slices, row.shape, row.spacing, row.reason
