"""Seconds of decay between the injection and the moment that PET values were corrected to, by the tags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.tagchecks import no_suv
from medtrans.scans.pet.moments import acquired, date_time, of_series, on_scanner_clock

ROUNDING = 1.0  # s; some tags have fractions of a second and some have not
SAME = 60.0  # s that two tags may differ by and still mean the same moment
BEFORE_INJECTION = 3600.0  # s that a dynamic scan may start before the injection
LONG_LIVED = 41400.0  # s of half-life from which on the day of injection must be known (IBSI SUV manual)
MOST_HALF_LIVES = 5.0  # from injection to scan; later than this, the times are wrong and not the patience
PRIVATE = {"SiemensDecayDateTime": "(0071,1022)", "GEScanDateTime": "(0009,100D)"}


@dataclass(frozen=True)
class Decay:
    """From injection to the moment that the values are corrected to.

    Attributes:
        seconds: may be negative, for a dynamic scan that was running when the dose was given.
        tags: what told them.
        warnings: where other tags disagree.
    """

    seconds: float
    tags: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def decay_from_injection(frames: Sequence[Frame], drug: dict[str, Any], half_life: float) -> Decay:
    """Seconds from injection to the reference of DecayCorrection START (or DecayCorrectionDateTime, if enhanced).

    The reference is, first that there is:

    1. the vendor's private tag, (0071,1022) of Siemens or (0009,100D) of GE;
    2. the time of the series, unless it is after the earliest acquisition (a post-processed series): QIBA's rule;
    3. the moment that the DecayFactor, or the FrameReferenceTime, of the images leads back to;
    4. the earliest acquisition.

    Sources: QIBA vendor-neutral pseudo-code for SUV (2018-06-26); IBSI manual for SUV computation, Vácha et al. 2026.

    Args:
        frames: all frames of the SeriesInstanceUID: the earliest acquisition may be in another bed position.
        drug: the item of the RadiopharmaceuticalInformationSequence.
        half_life: s.

    Raises:
        InputError: a tag is missing, contradictory or implausible.
    """
    reference, tags, warnings = _reference(frames, half_life)
    injection, tag = _injection(drug, frames[0].tags, reference, half_life)
    seconds = (reference - injection).total_seconds()
    if not -BEFORE_INJECTION <= seconds <= MOST_HALF_LIVES * half_life:
        raise no_suv(f"injection ({tag}) and scan are {seconds / 3600:.2f} h apart, which cannot be")
    return Decay(seconds, (*tags, tag), warnings)


def decay_reference(frames: Sequence[Frame], half_life: float) -> datetime:
    """The moment on the scanner's clock that DecayCorrection START corrects to, see :func:`decay_from_injection`.

    Raises:
        InputError: a tag is missing or contradictory.
    """
    return _reference(frames, half_life)[0]


def _reference(frames: Sequence[Frame], half_life: float) -> tuple[datetime, tuple[str, ...], tuple[str, ...]]:
    """The moment that the values are corrected to, the tags that say so, and what speaks against it."""
    tags = frames[0].tags
    if "DecayCorrectionDateTime" in tags:
        moment, clear = on_scanner_clock(tags["DecayCorrectionDateTime"], tags)
        if moment is None or not clear:
            raise no_suv("DecayCorrectionDateTime is no moment on the scanner's clock")
        return moment, ("DecayCorrectionDateTime",), ()
    scans = [acquired(frame.tags) for frame in frames]
    first = min((scan for scan in scans if scan is not None), default=None)
    series = of_series(tags)
    if series is not None and first is not None and (series - first).total_seconds() > ROUNDING:
        series = None
    scaled_to = _scaled_to(frames, scans, half_life)
    scale = "DecayFactor" if tags.get("DecayFactor", 0) > 1 else "FrameReferenceTime"
    exact = scaled_to if scale == "DecayFactor" else None  # vendors differ in what FrameReferenceTime refers to
    private, name = _private_moment(frames, first or series)
    if private is not None and not (_same(series, exact) and not _same(series, private)):
        return private, (name,), _against(name, private, {"SeriesTime": series, scale: exact})
    if series is not None:
        return series, ("SeriesTime",), _against("SeriesTime", series, {name: private, scale: exact})
    if first is None or None in scans:
        raise no_suv("SeriesTime and AcquisitionTime are missing or unusable")
    late = "SeriesTime is missing or after the acquisition: decay is counted to"
    if scaled_to is not None and scaled_to < first and not _same(scaled_to, first):
        return scaled_to, ("AcquisitionTime", scale, "ActualFrameDuration"), (f"{late} what {scale} leads back to",)
    return first, ("AcquisitionTime",), (f"{late} the earliest AcquisitionTime",)


def _same(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and abs((one - other).total_seconds()) <= SAME


def _against(name: str, moment: datetime, others: dict[str, datetime | None]) -> tuple[str, ...]:
    return tuple(
        f"{name} and {other} put the reference of decay {abs((at - moment).total_seconds()):.0f} s apart; {name} counts"
        for other, at in others.items()
        if at is not None and not _same(at, moment)
    )


def _scaled_to(frames: Sequence[Frame], scans: Sequence[datetime | None], half_life: float) -> datetime | None:
    """The moment that all images were corrected to, by how much they were scaled or how long after it they are."""
    moments = []
    for frame, scan in zip(frames, scans, strict=True):
        after = _after_reference(frame.tags, math.log(2) / half_life)
        if scan is None or after is None:
            return None
        moments.append(scan - timedelta(seconds=after))
    spread = (max(moments) - min(moments)).total_seconds()
    seconds = float(np.median([(moment - moments[0]).total_seconds() for moment in moments]))
    return moments[0] + timedelta(seconds=seconds) if spread <= SAME else None


def _after_reference(tags: dict[str, Any], rate: float) -> float | None:
    """Seconds from the reference of decay to the begin of a frame; None where its tags do not say it.

    A frame of duration T that begins t after the reference is scaled by DecayFactor exp(λt) λT / (1 - exp(-λT)), and
    FrameReferenceTime is t plus the time to its average activity (PS3.3 C.8.9.4.1.5), or t itself with GE.
    """
    duration, factor, middle = (tags.get(n) for n in ("ActualFrameDuration", "DecayFactor", "FrameReferenceTime"))
    if not isinstance(duration, (int, float)) or duration <= 0:
        return None
    during = rate * duration / 1000
    gain = math.log(during / -math.expm1(-during))  # λ times the time to the average activity
    if isinstance(factor, (int, float)) and factor > 1:
        return (math.log(factor) - gain) / rate
    if isinstance(middle, (int, float)) and middle > 0:
        return middle / 1000 - (0 if str(tags.get("Manufacturer", "")).upper().startswith("GE") else gain / rate)
    return None


def _private_moment(frames: Sequence[Frame], scan: datetime | None) -> tuple[datetime | None, str]:
    """The vendor's own reference, on the day of the scan: de-identification often shifts all dates but this one.

    Raises:
        InputError: it is not a moment before the scan.
    """
    for keyword, tag in PRIVATE.items():
        values = {frame.tags.get(keyword) for frame in frames}
        moment, clear = on_scanner_clock(next(iter(values)), frames[0].tags) if len(values) == 1 else (None, False)
        if moment is None or not clear or scan is None:
            continue
        days = round((scan - moment).total_seconds() / 86400)
        moment += timedelta(days=days)
        if (moment - scan).total_seconds() > SAME:
            raise no_suv(f"{tag}, the reference of decay, is later than the acquisition")
        return moment, tag
    return None, ""


def _injection(
    drug: dict[str, Any], tags: dict[str, Any], reference: datetime, half_life: float
) -> tuple[datetime, str]:
    """When the dose was given, and the tag that says so."""
    clock = drug.get("RadiopharmaceuticalStartTime")
    by_clock = date_time(f"{reference:%Y%m%d}{clock}") if isinstance(clock, str) else None
    text = drug.get("RadiopharmaceuticalStartDateTime")
    full, clear = on_scanner_clock(text, tags)
    if full is not None:
        if by_clock is not None:
            _refuse_two_clocks(full if clear else date_time(text), by_clock)
        elif not clear:
            raise no_suv("RadiopharmaceuticalStartDateTime has a time zone, the scan (TimezoneOffsetFromUTC) has none")
        return full, "RadiopharmaceuticalStartDateTime"
    if by_clock is None:
        raise no_suv("RadiopharmaceuticalStartTime is missing")
    if half_life >= LONG_LIVED:
        raise no_suv(
            "RadiopharmaceuticalStartDateTime is missing, and with this half-life the scan may be days after injection"
        )
    if (reference - by_clock).total_seconds() < -BEFORE_INJECTION:  # over midnight
        by_clock -= timedelta(days=1)
    return by_clock, "RadiopharmaceuticalStartTime"


def _refuse_two_clocks(full: datetime | None, clock: datetime) -> None:
    apart = abs((full - clock).total_seconds()) % 86400 if full is not None else 0.0
    if min(apart, 86400 - apart) > SAME:
        raise no_suv("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime disagree")
