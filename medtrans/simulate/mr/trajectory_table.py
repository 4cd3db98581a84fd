"""A measured trajectory from the user's table: the time and six parameters a row."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.simulate.mr.trajectories import Trajectory

COLUMNS = ("rx", "ry", "rz", "tx", "ty", "tz")
REMEDY = "Give a CSV with the columns time (s) or fraction (0 to 1), rx, ry, rz (degrees), tx, ty, tz (mm)"


def read_table(table: str | os.PathLike[str] | Any) -> Trajectory:
    """A trajectory from a CSV file or an array; between its rows the head moves straight on.

    Args:
        table: a CSV file with a header: ``time`` in s since the scan began, or ``fraction`` of the scan, then ``rx``,
            ``ry``, ``rz`` in degrees and ``tx``, ``ty``, ``tz`` in mm (:mod:`~medtrans.simulate.mr.poses`), in any
            order; or an array ``(n, 7)``: time in s and the six.

    Raises:
        InputError: the file cannot be read, a column is missing, a value is no finite number, or time does not rise.
    """
    if isinstance(table, str | os.PathLike):
        subject, (clock, rows) = str(table), _rows_of(Path(table))
    else:
        subject, clock, rows = "motion table", "time", np.array(table, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 7 or len(rows) < 2:
        raise InputError(subject, f"holds {rows.shape} numbers, not 7 columns and 2 rows or more", REMEDY)
    if not np.isfinite(rows).all():
        raise InputError(subject, "holds values that are no finite numbers", REMEDY)
    if (np.diff(rows[:, 0]) <= 0).any():
        raise InputError(subject, f"{clock} does not rise from row to row", "Sort the rows and leave doubles out")
    return {"kind": "table", "clock": clock, "seconds": rows[:, 0].tolist(), "poses": rows[:, 1:].tolist()}


def over_scan(trajectory: Trajectory, duration: float) -> Trajectory:
    """A table's trajectory for a scan of ``duration`` seconds; fractions of the scan become seconds.

    Raises:
        InputError: the table does not cover the scan.
    """
    knots = np.array(trajectory["seconds"])
    if trajectory["clock"] == "fraction":
        knots = knots * duration
    if knots[0] > 1e-6 * duration or knots[-1] < (1 - 1e-6) * duration:
        covered = f"covers {knots[0]:g} to {knots[-1]:g} s of a scan of {duration:g} s"
        raise InputError("motion table", covered, "Give rows from 0 s to the end, or the column fraction from 0 to 1")
    return {"kind": "table", "seconds": knots.tolist(), "poses": trajectory["poses"]}


def _rows_of(path: Path) -> tuple[str, np.ndarray]:
    """What the first column counts, and the rows ``(n, 7)`` of a file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"cannot be read ({type(error).__name__})", REMEDY) from error
    known = {(name or "").strip().lower(): name for name in (rows[0] if rows else {})}
    clock = "fraction" if "fraction" in known else "time"
    if missing := [name for name in (clock, *COLUMNS) if name not in known]:
        raise InputError(path, f"has no column {', '.join(missing)}", REMEDY)
    try:
        return clock, np.array([[float(row[known[name]]) for name in (clock, *COLUMNS)] for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(path, "holds a value that is no number", REMEDY) from error
