"""The factor from stored PET units to body-weight SUV, by the tags; or the reason why there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from medtrans.errors import InputError
from medtrans.scans.frames import Frame

DATE_TIME = re.compile(r"(?P<minute>\d{12})(?:(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?)?(?:[+-]\d{4})?")
MOST_HALF_LIVES = 8.0  # later than this after injection the times are wrong, not the patience


@dataclass(frozen=True)
class SUV:
    """SUVbw = value * ``factor``.

    Attributes:
        factor: (g/ml) per unit of the stored values.
        decay_seconds: from injection to the time the values are corrected to; None where decay plays no part.
        tags: DICOM keywords the factor comes from (their values are patient data and stay out).
    """

    factor: float
    decay_seconds: float | None
    tags: tuple[str, ...]


def suv_factor(frames: Sequence[Frame], series: Sequence[Frame] = ()) -> SUV:
    """SUVbw factor of a PET series.

    Units GML: 1. CNTS: Philips' private SUV factor, or its Bq/ml factor and then as BQML. BQML: weight in g over the
    dose left at the time the scanner corrected the decay to. DecayCorrection START corrects to the series time, or to
    the earliest acquisition if that is before it; ADMIN to the injection; NONE cannot be used.

    Args:
        frames: the frames of the volume.
        series: all frames of its SeriesInstanceUID, where the volume is only a part of it.

    Raises:
        InputError: a tag is missing, contradictory or implausible; the message names it.
    """
    tags = frames[0].tags
    for name in ("Units", "DecayCorrection", "SUVType", "CorrectedImage", "Radiopharmaceutical", "PatientWeight"):
        if any(frame.tags.get(name) != tags.get(name) for frame in frames):
            raise _no_suv(f"{name} differs between its images")
    units = tags.get("Units")
    if units == "GML":
        if tags.get("SUVType", "BW") != "BW":
            raise _no_suv(f"its values are SUV normalised by {tags['SUVType']}, not by body weight")
        return SUV(1.0, None, ("Units",))
    corrected = tags.get("CorrectedImage")
    if corrected is not None and not {"ATTN", "DECY"} <= set(corrected):
        raise _no_suv(f"CorrectedImage is {'/'.join(map(str, corrected))}: attenuation or decay is missing")
    if units == "CNTS":
        return _from_counts(frames, series or frames)
    if units != "BQML":
        raise _no_suv(f"Units is {units or 'missing'}")
    return _from_becquerel(series or frames)


def _from_counts(frames: Sequence[Frame], series: Sequence[Frame]) -> SUV:
    suv, bqml = ({frame.tags.get(name) for frame in frames} for name in ("PhilipsSUVFactor", "PhilipsBqmlFactor"))
    if len(suv) == 1 and (factor := next(iter(suv))):
        return SUV(float(factor), None, ("Units", "(7053,1000)"))
    if len(bqml) == 1 and (factor := next(iter(bqml))):
        further = _from_becquerel(series)
        return SUV(factor * further.factor, further.decay_seconds, ("(7053,1009)", *further.tags))
    raise _no_suv("Units is CNTS without Philips' private factor")


def _from_becquerel(frames: Sequence[Frame]) -> SUV:
    tags = frames[0].tags
    weight = _positive(tags, "PatientWeight", 700)
    drug = _radiopharmaceutical(tags)
    dose = _positive(drug, "RadionuclideTotalDose")
    if dose < 1e5:
        raise _no_suv(f"RadionuclideTotalDose of {dose:g} Bq is implausible (given in MBq?)")
    used = ["Units", "DecayCorrection", "PatientWeight", "RadionuclideTotalDose"]
    decay = tags.get("DecayCorrection")
    if decay == "ADMIN":
        return SUV(1000 * weight / dose, 0.0, tuple(used))
    if decay != "START":
        raise _no_suv(f"DecayCorrection is {decay or 'missing'}")
    half_life = _positive(drug, "RadionuclideHalfLife")
    seconds, times = _seconds_since_injection(frames, drug)
    if not 0 <= seconds <= MOST_HALF_LIVES * half_life:
        raise _no_suv(f"injection and scan are {seconds / 3600:.2f} h apart, which cannot be")
    return SUV(1000 * weight / (dose * 2 ** (-seconds / half_life)), seconds, (*used, "RadionuclideHalfLife", *times))


def _seconds_since_injection(frames: Sequence[Frame], drug: dict[str, Any]) -> tuple[float, tuple[str, ...]]:
    """Seconds from injection to the reference time of DecayCorrection START, and the tags that told them."""
    series = _moment(frames[0].tags, "SeriesDate", "SeriesTime")
    scans = [_acquired(frame.tags) for frame in frames]
    first = min((scan for scan in scans if scan is not None), default=None)
    if series is not None and (first is None or series <= first):
        reference, name = series, "SeriesTime"
    elif first is not None and None not in scans:
        reference, name = first, "AcquisitionTime"
    else:
        raise _no_suv("SeriesTime and AcquisitionTime are missing or unusable")
    clock = drug.get("RadiopharmaceuticalStartTime")
    injection = date_time(f"{reference:%Y%m%d}{clock}") if isinstance(clock, str) else None
    full = date_time(drug.get("RadiopharmaceuticalStartDateTime"))
    if full is not None:
        _refuse_two_clocks(full, injection, drug, frames[0].tags)
        return (reference - full).total_seconds(), (name, "RadiopharmaceuticalStartDateTime")
    if injection is None:
        raise _no_suv("RadiopharmaceuticalStartTime is missing")
    if injection > reference:  # over midnight
        injection -= timedelta(days=1)
    return (reference - injection).total_seconds(), (name, "RadiopharmaceuticalStartTime")


def _refuse_two_clocks(full: datetime, clock: datetime | None, drug: dict[str, Any], tags: dict[str, Any]) -> None:
    """Injection date-time and time must agree; without a time, an offset from UTC must be the scanner's."""
    if clock is not None:
        apart = abs((full - clock).total_seconds()) % 86400
        if min(apart, 86400 - apart) > 60:
            raise _no_suv("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime disagree")
        return
    offset = re.search(r"[+-]\d{4}$", str(drug["RadiopharmaceuticalStartDateTime"]))
    if offset is not None and offset.group() != str(tags.get("TimezoneOffsetFromUTC", "")):
        raise _no_suv("RadiopharmaceuticalStartDateTime is in another time zone than the scan")


def _acquired(tags: dict[str, Any]) -> datetime | None:
    whole = date_time(tags.get("AcquisitionDateTime"))
    return whole if whole is not None else _moment(tags, "AcquisitionDate", "AcquisitionTime")


def _moment(tags: dict[str, Any], date: str, time: str) -> datetime | None:
    day = tags.get(date) or tags.get("SeriesDate") or tags.get("StudyDate")
    return date_time(f"{day}{tags[time]}") if day and tags.get(time) else None


def date_time(text: Any) -> datetime | None:
    """A DICOM DT, or DA and TM together, as written on the scanner's clock; None unless day and minute are there."""
    match = DATE_TIME.fullmatch(str(text or "").strip())
    if match is None:
        return None
    try:
        moment = datetime.strptime(match["minute"], "%Y%m%d%H%M")
    except ValueError:
        return None
    fraction = (match["fraction"] or "").ljust(6, "0")
    return moment + timedelta(seconds=min(int(match["second"] or 0), 59), microseconds=int(fraction))


def _radiopharmaceutical(tags: dict[str, Any]) -> dict[str, Any]:
    drugs: tuple[dict[str, Any], ...] = tags.get("Radiopharmaceutical", ())
    if len(drugs) != 1:
        raise _no_suv(f"RadiopharmaceuticalInformationSequence has {len(drugs)} items")
    return drugs[0]


def _positive(tags: dict[str, Any], name: str, most: float = float("inf")) -> float:
    value = tags.get(name)
    if not isinstance(value, (int, float)) or not 0 < value < most:
        raise _no_suv(f"{name} is missing or implausible")
    return float(value)


def _no_suv(problem: str) -> InputError:
    return InputError("series", f"SUV cannot be computed: {problem}", "Values are kept in their own unit")
