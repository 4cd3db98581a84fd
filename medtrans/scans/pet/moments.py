"""Dates and times of DICOM as moments on the scanner's clock."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

DATE_TIME = re.compile(r"(?P<minute>\d{12})(?:(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?)?(?:[+-]\d{4})?")
ANY_DAY, MIDNIGHT = "20000101", datetime(2000, 1, 1)
OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d{2})(?P<minutes>\d{2})$")


def date_time(text: Any) -> datetime | None:
    """A DICOM DT, or DA and TM together, as written on the scanner's clock; None unless day and minute are there."""
    match = DATE_TIME.fullmatch(str(text or "").strip())
    if match is None:
        return None
    day, time = match["minute"][:8], match["minute"][8:]
    try:
        moment = datetime(int(day[:4]), int(day[4:6]), int(day[6:]), int(time[:2]), int(time[2:]))  # strptime is slow
    except ValueError:
        return None
    fraction = (match["fraction"] or "").ljust(6, "0")
    return moment + timedelta(seconds=min(int(match["second"] or 0), 59), microseconds=int(fraction))


def time_of_day(text: Any) -> float | None:
    """Seconds from midnight to a DICOM TM; None unless its minute is there."""
    moment = date_time(f"{ANY_DAY}{text or ''}")
    return None if moment is None else (moment - MIDNIGHT).total_seconds()


def taken(tags: dict[str, Any]) -> datetime | None:
    """When an image was taken, on any day where no day is known: good for differences within a series only."""
    day = tags.get("AcquisitionDate") or tags.get("SeriesDate") or ANY_DAY
    return date_time(tags.get("AcquisitionDateTime")) or date_time(f"{day}{tags.get('AcquisitionTime', '')}")


def on_scanner_clock(text: Any, tags: dict[str, Any]) -> tuple[datetime | None, bool]:
    """A DT brought to the time zone of TimezoneOffsetFromUTC, and whether that could be done.

    A DT without an offset is on the scanner's clock; one with an offset needs the scanner's own.
    """
    moment, own = date_time(text), _offset(text)
    if moment is None or own is None:
        return moment, True
    scanner = _offset(tags.get("TimezoneOffsetFromUTC"))
    return (moment, False) if scanner is None else (moment - own + scanner, True)


def _offset(text: Any) -> timedelta | None:
    match = OFFSET.search(str(text or "").strip())
    if match is None:
        return None
    size = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    return -size if match["sign"] == "-" else size


def acquired(tags: dict[str, Any]) -> datetime | None:
    """When the acquisition of an image began; without a date of its own, within twelve hours of the series."""
    whole, clear = on_scanner_clock(tags.get("AcquisitionDateTime"), tags)
    if whole is not None and (clear or not tags.get("AcquisitionTime")):
        return whole
    moment, series = of_series(tags, "AcquisitionDate", "AcquisitionTime"), of_series(tags)
    if moment is None or series is None or tags.get("AcquisitionDate"):
        return moment
    return moment + timedelta(days=round((series - moment).total_seconds() / 86400))


def of_series(tags: dict[str, Any], date: str = "SeriesDate", time: str = "SeriesTime") -> datetime | None:
    """A DA and a TM together, on the day of the series or study where the DA is missing."""
    day = tags.get(date) or tags.get("SeriesDate") or tags.get("StudyDate")
    return date_time(f"{day}{tags[time]}") if day and tags.get(time) else None
