"""Whether the modalities of a case show the same thing in the same place: shifted, turned or mirrored ones are found.

A head is nearly symmetric. So a verdict on a left-right flip is given only when the mirrored volume, searched for its
best fit as well, explains the other one clearly better or clearly worse; in between it is said that none is possible.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import ERROR, NOTE, WARNING, Finding
from medtrans.cohorts.doctor.pair_search import NAMES, PairFit, fit_pair

LOOK = "Look at its picture"
LEFT_RIGHT = (0,)
LEAST_SPREAD = 0.12  # of the log of the mutual information over a cohort


class Alignment(Check):
    """Misregistration and flips between the modalities of a case, by mutual information after a rigid search."""

    name = "alignment"
    title = "misregistration and flips between modalities"
    order = 70
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "warning_mm": Threshold(3.0, "mm", "mean displacement of the body by the better motion that is worth a look"),
        "error_mm": Threshold(5.0, "mm", "mean displacement that is an error"),
        "gain": Threshold(0.05, "", "least relative gain in mutual information by the better motion"),
        "flip": Threshold(0.03, "", "least log ratio of the mutual informations mirrored / as is, for a verdict"),
        "related": Threshold(0.05, "nats", "least mutual information above that of unrelated positions, for a verdict"),
        "poor_z": Threshold(5.0, "", "robust standard deviations below the cohort's fit that hint at another subject"),
        "cases": Threshold(8, "", "least number of cases for that"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, tuple[str, PairFit]]:
        """Modality -> what it was compared with, and their fit."""
        there = [name for name in case.on_mask if case.percentiles(name)[100.0] > case.percentiles(name)[0.0]]
        if not there or not case.coarse_body.any():
            return {}
        return {name: (there[0], fit_pair(case, there[0], name)) for name in there[1:]}

    def columns(self, measured: dict[str, tuple[str, PairFit]]) -> dict[str, dict[str, float | str]]:
        """Mutual information as it lies and at its best, the motion between, and the mirrored log ratio."""
        return {
            name: {
                "information": fit.here, "best_information": fit.best, "displacement_mm": fit.displacement,
                "rotation_degrees": fit.rotation, "left_right_log_ratio": _log_ratio(fit, LEFT_RIGHT),
            }
            for name, (_, fit) in measured.items()
        }  # fmt: skip

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Each pair on its own (a flip hides the misregistration it brings along), then against the other cases."""
        fits: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        for case, pairs in cohort.measured.items():
            for name, (other, fit) in pairs.items():
                yield from self._pair(fit, {"case": case, "modality": name, "other": other})
                fits[name, other][case] = math.log(max(fit.best, fit.mirrored[fit.best_mirror], 1e-3))
        for (name, other), values in fits.items():
            yield from self._poor(name, other, values)

    def _poor(self, name: str, other: str, values: dict[str, float]) -> Iterator[Finding]:
        """Cases whose modalities explain each other far less than those of the other cases, even at their best."""
        if len(values) < self.limit["cases"]:
            return
        logs = np.array(list(values.values()))
        middle = float(np.median(logs))
        spread = max(1.4826 * float(np.median(np.abs(logs - middle))), LEAST_SPREAD)
        for case, value in values.items():
            if (z := (middle - value) / spread) > self.limit["poor_z"]:
                problem = (
                    f"{name} and {other} explain each other far less than in the other cases "
                    f"(mutual information {math.exp(value):.3f}, median {math.exp(middle):.3f})"
                )
                remedy = "Look at its picture: one of the two may be another subject's, or damaged"
                yield Finding("poor fit", problem, remedy, WARNING, case=case, modality=name, other=other, value=z,
                              limit=self.limit["poor_z"])  # fmt: skip

    def _pair(self, fit: PairFit, where: dict[str, Any]) -> Iterator[Finding]:
        name, other = where["modality"], where["other"]
        axes = fit.best_mirror
        excess = max(fit.best, fit.mirrored[axes]) - fit.unrelated
        if excess < self.limit["related"]:
            problem = f"{name} and {other} share too little for a verdict on position and flips"
            yield Finding("fit not decidable", problem, LOOK, NOTE, value=excess, limit=self.limit["related"],
                          unit="nats", **where)  # fmt: skip
            return
        ratio = _log_ratio(fit, axes)
        if ratio > self.limit["flip"]:
            problem = (
                f"{name} explains {other} better when it is {NAMES[axes]} "
                f"(mutual information {fit.mirrored[axes]:.3f} instead of {fit.best:.3f})"
            )
            remedy = "Convert the scan again and look at its picture; leave it out if no source tells which is right"
            yield Finding(NAMES[axes], problem, remedy, value=ratio, limit=self.limit["flip"], exclude=True, **where)
            return
        yield from self._position(fit, where)
        if abs(_log_ratio(fit, LEFT_RIGHT)) < self.limit["flip"]:
            ratio = _log_ratio(fit, LEFT_RIGHT)
            problem = f"{name} fits {other} as well when it is flipped left-right: the body is too symmetric to tell"
            yield Finding("flip not decidable", problem, LOOK, NOTE, value=ratio, limit=self.limit["flip"], **where)

    def _position(self, fit: PairFit, where: dict[str, Any]) -> Iterator[Finding]:
        """A finding when a motion of the body by some millimetres fits clearly better."""
        gain = fit.best / fit.here - 1 if fit.here > 0 else math.inf
        if gain < self.limit["gain"] or fit.displacement < self.limit["warning_mm"]:
            return
        severe = fit.displacement >= self.limit["error_mm"]
        problem = (
            f"{where['modality']} fits {where['other']} better when moved by {fit.displacement:.1f} mm and "
            f"{fit.rotation:.1f} degrees (mutual information {fit.here:.3f} -> {fit.best:.3f})"
        )
        remedy = 'Prepare the case again with "registration": {"rigid": true}, and look at its picture'
        yield Finding(
            "misaligned", problem, remedy, ERROR if severe else WARNING, value=fit.displacement,
            limit=self.limit["error_mm" if severe else "warning_mm"], unit="mm", exclude=severe, **where,
        )  # fmt: skip


def _log_ratio(fit: PairFit, axes: tuple[int, ...]) -> float:
    """Log of the mutual information mirrored over that as is, both at their best."""
    if fit.best <= 0 or fit.mirrored[axes] <= 0:
        return 0.0
    return math.log(fit.mirrored[axes] / fit.best)
