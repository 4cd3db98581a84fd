"""Cases left out of a data set without touching its table: ``exclude.csv`` beside ``cases.csv``, a reason a case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from medtrans.errors import InputError
from medtrans.files import written_whole

FILE = "exclude.csv"


def excluded_cases(root: str | os.PathLike[str]) -> dict[str, str]:
    """Case -> reason, from ``root/exclude.csv``; empty when there is no such file.

    Preparing a data set again leaves the file alone, so that cases stay out until a person brings them back.

    Raises:
        InputError: the file is not a table with a column ``case``.
    """
    path = Path(root) / FILE
    if not path.is_file():
        return {}
    remedy = "It needs the columns case and reason; delete it to leave nothing out"
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(path, f"cannot be read ({error})", remedy) from error
    if "case" not in frame:
        raise InputError(path, "lacks the column case", remedy)
    reasons = frame["reason"] if "reason" in frame else [""] * len(frame)
    return {str(case): str(reason) for case, reason in zip(frame["case"], reasons, strict=True)}


def write_excluded(path: str | os.PathLike[str], reasons: Mapping[str, str]) -> Path:
    """Write case -> reason as ``path``, in the form :func:`excluded_cases` reads."""
    with written_whole(path) as temporary:
        pd.DataFrame(list(reasons.items()), columns=["case", "reason"]).to_csv(temporary, index=False)
    return Path(path)
