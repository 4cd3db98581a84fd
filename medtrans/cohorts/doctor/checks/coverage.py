"""Whether the modalities show the same stretch of the body: slice by slice in a case, height by height in a cohort.

Unpaired training learns to turn what one cohort shows into what the other shows. Where one holds heads with necks and
the other heads alone, it learns to remove necks. So the heights at which each modality has slices are compared, in
millimetres below the top of the body, after the mean cross-section profiles were laid over one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import WARNING, Finding

STEP_MM = 4.0
LONGEST = 600  # steps of a profile
FLAT = 0.02  # of the window: a slice whose values inside the body spread less shows nothing


class Coverage(Check):
    """Slices of the body that a modality does not show, and cohorts of different fields of view."""

    name = "coverage"
    title = "modalities that show different stretches of the body"
    order = 120
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "covered": Threshold(0.95, "", "least share of the body's slices that a modality must show"),
        "cases": Threshold(3, "", "least number of cases of a modality, to compare cohorts"),
        "outside": Threshold(0.1, "", "share of one modality's slices at heights that the other does not show"),
        "shift_mm": Threshold(20, "mm", "how far the fields of view of two modalities may be apart"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, Any]]:
        """Modality -> cross-sections (cm²) of the body it shows, from the top down in steps of 4 mm."""
        found = {}
        for name in case.on_mask:
            window = case.listed.windows.get(name)
            if window is None or not case.body.any():
                continue
            seen = _slices_with_content(case, name, FLAT * (window.upper - window.lower))
            there = case.body.any(axis=(0, 1))
            found[name] = {
                "covered": float((seen & there).sum() / there.sum()),
                "profile": _profile(case, seen & there),
            }
        return found

    def columns(self, measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | str]]:
        """Share of the body's slices, and the length of what is shown."""
        return {
            name: {"covered": told["covered"], "length_mm": STEP_MM * len(told["profile"])}
            for name, told in measured.items()
        }

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Within cases; then, where cases lack modalities, between the modalities' cohorts."""
        for case, volumes in cohort.measured.items():
            for name, told in volumes.items():
                if told["covered"] < self.limit["covered"]:
                    problem = f"{name} shows {100 * told['covered']:.0f} % of the body's slices, the rest is flat"
                    remedy = 'Prepare with "extent": "overlap", or leave the case out'
                    yield Finding("part of the body missing", problem, remedy, WARNING, case=case, modality=name,
                                  value=told["covered"], limit=self.limit["covered"], exclude=False)  # fmt: skip
        yield from self._cohorts(cohort)

    def _cohorts(self, cohort: Cohort) -> Iterator[Finding]:
        if all(len(case.files) == len(cohort.listing.modalities) for case in cohort.cases.values()):
            return  # paired: every case shows the same with every modality
        profiles = {
            modality: [f[modality]["profile"] for f in cohort.measured.values() if modality in f]
            for modality in cohort.listing.modalities
        }
        known = [name for name, found in profiles.items() if len(found) >= self.limit["cases"]]
        for second, first in ((b, a) for i, b in enumerate(known) for a in known[:i]):
            yield from self._two(first, profiles[first], second, profiles[second])

    def _two(self, first: str, ones: list[np.ndarray], second: str, others: list[np.ndarray]) -> Iterator[Finding]:
        shift = _best_shift(_mean(ones), _mean(others))
        where: dict[str, Any] = {"modality": second, "other": first}
        remedy = 'Cut both to the stretch they share ("size" and "centre" in the recipe), or use other scans'
        if abs(shift) * STEP_MM > self.limit["shift_mm"]:
            problem = (
                f"the bodies of {second} begin {abs(shift) * STEP_MM:.0f} mm {'below' if shift > 0 else 'above'} "
                f"those of {first}, by their cross-sections"
            )
            yield Finding("fields of view apart", problem, remedy, WARNING, **where, value=abs(shift) * STEP_MM,
                          limit=self.limit["shift_mm"], unit="mm")  # fmt: skip
        shift = shift if abs(shift) * STEP_MM > self.limit["shift_mm"] else 0
        for name, mine, other, theirs, by in (
            (first, ones, second, others, -shift),
            (second, others, first, ones, shift),
        ):
            share = _outside(mine, theirs, by)
            if share > self.limit["outside"]:
                problem = (
                    f"{100 * share:.0f} % of the slices of {name} lie at heights of the body that {other} never shows"
                )
                yield Finding("heights not shared", problem, remedy, WARNING, modality=name, other=other, value=share,
                              limit=self.limit["outside"])  # fmt: skip


def _slices_with_content(case: CaseVolumes, name: str, least: float) -> np.ndarray:
    """Which axial slices hold values that spread by ``least`` or more."""
    values = case.values(name)[::2, ::2]
    with np.errstate(invalid="ignore"):
        return (values.max(axis=(0, 1)) - values.min(axis=(0, 1))) > least


def _profile(case: CaseVolumes, seen: np.ndarray) -> np.ndarray:
    """Cross-sections in cm² from the top of what is shown downwards, in steps of 4 mm."""
    if not seen.any():
        return np.zeros(0)
    spacing = case.spacing
    area = np.count_nonzero(case.body, axis=(0, 1)) * spacing[0] * spacing[1] / 100
    lowest, highest = np.flatnonzero(seen)[[0, -1]]
    downwards = area[lowest : highest + 1][::-1]
    depth = np.arange(len(downwards)) * spacing[2]
    steps = np.arange(0, depth[-1] + STEP_MM / 2, STEP_MM)[:LONGEST]
    return np.interp(steps, depth, downwards)


def _mean(profiles: list[np.ndarray]) -> np.ndarray:
    """Mean profile as far down as at least half of them reach."""
    length = int(np.median([len(p) for p in profiles]))
    padded = np.full((len(profiles), max(length, 1)), np.nan)
    for row, profile in zip(padded, profiles, strict=True):
        row[: len(profile)] = profile[:length]
    return np.nan_to_num(np.nanmean(padded, axis=0)) if length else np.zeros(1)


def _best_shift(first: np.ndarray, second: np.ndarray) -> int:
    """Steps by which the second profile lies lower: where they differ least, over at least half the shorter one."""
    least = max(4, min(len(first), len(second)) // 2)
    costs = {}
    for shift in range(-(len(second) - least), len(first) - least + 1):
        mine, theirs = first[max(shift, 0) :], second[max(-shift, 0) :]
        n = min(len(mine), len(theirs))
        if n >= least:
            costs[shift] = float(np.abs(mine[:n] - theirs[:n]).mean()) + 0.02 * abs(shift)
    return min(costs, key=lambda shift: costs[shift]) if costs else 0


def _outside(mine: list[np.ndarray], theirs: list[np.ndarray], lower: int) -> float:
    """Share of my slices at heights that fewer than 5 % of their cases reach; ``lower``: steps mine lie lower."""
    lengths = np.array([len(p) for p in theirs])
    deepest = float(np.quantile(lengths, 0.95))
    heights = np.concatenate([np.arange(len(p)) + lower for p in mine]) if mine else np.zeros(0)
    return float(((heights < 0) | (heights >= deepest)).mean()) if heights.size else 0.0
