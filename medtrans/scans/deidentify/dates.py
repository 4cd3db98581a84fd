"""Dates moved by a number of days, in whichever form DICOM has them."""

from __future__ import annotations

import re
from datetime import date, timedelta

DA = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")  # the second form is of ACR-NEMA
DT = re.compile(r"(\d{4})(\d{2})?(\d{2})?(\d{2,6}(?:\.\d{1,6})?)?([+-]\d{4})?")
TM = re.compile(r"\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,6})?)?)?")


def shifted(text: str, kind: str, days: int) -> str:
    """A DA or DT moved by ``days``; a TM as it is. Empty for what is none.

    The time of day and the offset from UTC of a DT stay. One without a day, or without a month, is moved from its first
    day and says no more than it did.
    """
    text = text.strip()
    if kind == "TM":
        return text if TM.fullmatch(text) else ""
    found = (DA if kind == "DA" else DT).fullmatch(text)
    if found is None:
        return ""
    year, month, day = found[1], found[2], found[3]
    try:
        moved = date(int(year), int(month or 1), int(day or 1)) + timedelta(days)
    except (ValueError, OverflowError):
        return ""
    written = f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"
    if kind == "DA":
        return written
    return written[: 4 + 2 * bool(month) + 2 * bool(day)] + (found[4] or "") + (found[5] or "")
