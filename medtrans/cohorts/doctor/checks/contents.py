"""Volumes in which there is nothing to learn from: not finite, constant, nearly empty; masks that mark no body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import WARNING, Finding

LOOK = "Look at the scan it was made from; leave the case out if that is empty, too"


class Contents(Check):
    """Not finite, constant and nearly empty volumes, empty masks."""

    name = "contents"
    title = "empty, constant and not finite volumes"
    order = 40
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "spread": Threshold(0.02, "", "least 5-95 % spread inside the body, as a share of the intensity window"),
        "mask_least": Threshold(0.01, "", "least share of the volume that is body"),
        "mask_most": Threshold(0.95, "", "greatest share of the volume that is body"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, Any]]:
        """Per modality and for the mask."""
        found = {name: _volume(case, name) for name in case.modalities}
        if "mask" in case.images:
            values = case.values("mask")
            binary = bool(np.isin(values[::2, ::2, ::2], (0, 1)).all())
            found["mask"] = {"share": float((values > 0).mean()), "binary": binary}
        return found

    def columns(self, measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | str]]:
        """Percentiles and spread of each modality, the mask's share."""
        return {
            name: {key: value for key, value in told.items() if isinstance(value, float)}
            for name, told in measured.items()
        }

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Every volume on its own."""
        for case, volumes in cohort.measured.items():
            for name, told in volumes.items():
                judged = self._mask(case, told) if name == "mask" else self._volume(case, name, told)
                yield from judged

    def _volume(self, case: str, name: str, told: dict[str, Any]) -> Iterator[Finding]:
        where: dict[str, Any] = {"case": case, "modality": name, "exclude": True}
        if told["not finite"]:
            problem = f"{name}: {100 * told['not finite']:.2g} % of its voxels are NaN or infinite"
            remedy = 'Prepare it again, with "not_finite": "background" in the recipe if they lie outside the body'
            yield Finding("not finite", problem, remedy, value=told["not finite"], limit=0, **where)
        if told["lowest"] == told["highest"]:
            yield Finding("constant", f"{name}: every voxel is {told['lowest']:g}", LOOK, **where)
        elif told["spread"] < self.limit["spread"]:
            problem = f"{name}: inside the body its values spread over {100 * told['spread']:.2g} % of its window only"
            yield Finding("nearly empty", problem, LOOK, value=told["spread"], limit=self.limit["spread"], **where)

    def _mask(self, case: str, told: dict[str, Any]) -> Iterator[Finding]:
        where: dict[str, Any] = {"case": case, "modality": "mask", "value": told["share"]}
        remedy = 'Look at it; set "threshold" in the recipe and prepare again'
        if told["share"] == 0:
            yield Finding("empty mask", "the body mask is empty", remedy, exclude=True, **where)
        elif told["share"] < self.limit["mask_least"]:
            problem = f"the body mask covers {100 * told['share']:.2g} % of the volume only"
            yield Finding("small mask", problem, remedy, WARNING, limit=self.limit["mask_least"], **where)
        elif told["share"] > self.limit["mask_most"]:
            problem = f"the body mask covers {100 * told['share']:.3g} % of the volume"
            yield Finding("large mask", problem, remedy, WARNING, limit=self.limit["mask_most"], **where)
        if not told["binary"]:
            yield Finding("mask not binary", "the body mask holds values other than 0 and 1", remedy, WARNING, **where)


def _volume(case: CaseVolumes, name: str) -> dict[str, Any]:
    values, window = case.values(name), case.listed.windows.get(name)
    at = case.percentiles(name) if name in case.on_mask else dict.fromkeys((5.0, 50.0, 95.0), np.nan)
    finite = np.isfinite(values)
    bad = 0.0 if finite.all() else float(1 - finite.mean())
    seen = values if not bad else values[finite]
    lowest, highest = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    width = window.upper - window.lower if window else highest - lowest
    return {
        "not finite": bad, "lowest": lowest, "p5": at[5.0], "median": at[50.0], "p95": at[95.0], "highest": highest,
        "spread": (at[95.0] - at[5.0]) / width if width > 0 else 0.0,
    }  # fmt: skip
