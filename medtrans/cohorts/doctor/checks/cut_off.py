"""Whether the body goes on beyond the border of the volume, so that a part of it is missing.

A closed body ends in a dome. The cross-sections of an ellipsoid are a parabola of the position; so the parabola through
those within 24 mm of a face says where the body would end beyond it. A neck does not shrink: much is missing there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import NOTE, WARNING, Finding

FACES = ("left", "right", "back", "front", "bottom", "top")
INWARDS_MM = 24.0
MOST_MM = 100.0  # what does not shrink at all
LEAST_SHARE = 0.02  # of the largest cross-section; less on a face is the tip of a nose


class CutOff(Check):
    """How much of the body is missing beyond each face of the volume."""

    name = "cut_off"
    title = "bodies cut off at the border of the volume"
    order = 110
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "missing_mm": Threshold(8, "mm", "estimated length of the body beyond a face of the volume"),
        "usual": Threshold(0.5, "", "share of the cases cut at a face above which that is the field of view"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, float]:
        """Face -> millimetres missing."""
        if not case.body.any():
            return {}
        missing: dict[str, float] = {}
        for axis in range(3):
            area = np.count_nonzero(case.body, axis=tuple(other for other in range(3) if other != axis))
            step = float(case.spacing[axis])
            missing[FACES[2 * axis]], missing[FACES[2 * axis + 1]] = _missing(area, step), _missing(area[::-1], step)
        return missing

    def columns(self, measured: dict[str, float]) -> dict[str, dict[str, float | str]]:
        """The six lengths."""
        return {"": {f"missing_{face}_mm": length for face, length in measured.items()}}

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """A face at which most cases are cut, such as the neck in heads, is the field of view and told once."""
        total = len(cohort.measured)
        for face in FACES:
            cut = {c: f[face] for c, f in cohort.measured.items() if f.get(face, 0.0) > self.limit["missing_mm"]}
            if len(cut) > self.limit["usual"] * total and (total >= 3 or face == "bottom"):  # necks and legs go on
                problem = f"{len(cut)} of {total} bodies go on beyond the {face} of the volume: the field of view"
                yield Finding("field of view", problem, 'If it is not meant, a larger "size" in the recipe', NOTE,
                              other=face, value=len(cut) / total, limit=self.limit["usual"])  # fmt: skip
                continue
            for case, length in cut.items():
                told = f"about {length:.0f} mm are missing" if length < MOST_MM else "it gets no thinner there"
                problem = f"the body is cut off at the {face} of the volume: {told}"
                remedy = 'A larger "size", or "centre": "field of view" in the recipe; or the scan itself is cut'
                yield Finding("cut off", problem, remedy, WARNING, case=case, other=face, value=length,
                              limit=self.limit["missing_mm"], unit="mm")  # fmt: skip


def _missing(area: np.ndarray, step: float) -> float:
    """Millimetres of the body beyond the first cross-section; exact for ellipsoids."""
    if area[0] < LEAST_SHARE * area.max():
        return 0.0
    count = min(len(area), max(3, round(INWARDS_MM / step) + 1))
    if count < 3:
        return MOST_MM
    zeros = np.roots(np.polyfit(np.arange(count) * step, area[:count].astype(float), 2))
    beyond = [-zero.real for zero in zeros if abs(zero.imag) < 1e-6 * (1 + abs(zero.real)) and zero.real < 0]
    return float(np.clip(min(beyond) - step / 2, 0.0, MOST_MM)) if beyond else MOST_MM
