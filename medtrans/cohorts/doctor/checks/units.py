"""Whether CT is in Hounsfield units (air near -1000, tissue near 0) and PET in plausible SUV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import WARNING, Finding


class Units(Check):
    """Judges what ``cases.csv`` calls HU or SUV, and nothing else."""

    name = "units"
    title = "CT that is not in HU, PET that is not in SUV"
    order = 60
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "air_hu": Threshold(150, "HU", "how far air outside the body may be from -1000"),
        "tissue_hu": Threshold(150, "HU", "how far the commonest value inside the body may be from 0"),
        "suv_least": Threshold(0.05, "SUV", "least 95th percentile inside the body"),
        "suv_most": Threshold(50, "SUV", "greatest median inside the body"),
        "negative": Threshold(0.01, "", "share of the body that may be below 0 in PET"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, float]]:
        """Modality -> what tells its unit."""
        found = {}
        for name in case.on_mask:
            window = case.listed.windows.get(name)
            if window is None or not case.inside(name).size:
                continue
            if window.unit == "HU":
                found[name] = {"air_hu": _air(case, name), "tissue_hu": _commonest(case.inside(name))}
            elif window.unit == "SUV":
                at = case.percentiles(name)
                negative = float((case.inside(name) < 0).mean())
                found[name] = {"suv_median": at[50.0], "suv_p95": at[95.0], "negative": negative}
        return found

    def columns(self, measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float | str]]:
        """As measured."""
        return {name: dict(told) for name, told in measured.items()}

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Every volume on its own."""
        for case, volumes in cohort.measured.items():
            for name, told in volumes.items():
                yield from self._ct(case, name, told) if "tissue_hu" in told else self._pet(case, name, told)

    def _ct(self, case: str, name: str, told: dict[str, float]) -> Iterator[Finding]:
        air, tissue = told["air_hu"], told["tissue_hu"]
        where: dict[str, Any] = {"case": case, "modality": name, "unit": "HU", "exclude": True}
        off_air, off_tissue = abs(air + 1000), abs(tissue)
        if off_tissue > self.limit["tissue_hu"]:
            shift = " (it looks as if the intercept was not applied)" if 900 < tissue < 1150 else ""
            problem = f"{name}: the commonest value inside the body is {tissue:.0f}, tissue should be near 0 HU{shift}"
            remedy = "Convert the scan again; if it is in another unit, say so in the recipe"
            yield Finding("not in HU", problem, remedy, value=off_tissue, limit=self.limit["tissue_hu"], **where)
        elif np.isfinite(air) and off_air > self.limit["air_hu"]:
            problem = f"{name}: outside the body the values are about {air:.0f}, air should be near -1000 HU"
            remedy = 'Check the "background" of the recipe and the scanner\'s padding value'
            yield Finding("air not near -1000 HU", problem, remedy, WARNING, value=off_air,
                          limit=self.limit["air_hu"], **{**where, "exclude": False})  # fmt: skip

    def _pet(self, case: str, name: str, told: dict[str, float]) -> Iterator[Finding]:
        where: dict[str, Any] = {"case": case, "modality": name, "unit": "SUV"}
        remedy = "Convert the PET again with `medtrans convert`, which computes SUV or says what is missing"
        if told["suv_median"] > self.limit["suv_most"]:
            problem = f"{name}: its median inside the body is {told['suv_median']:.3g}, too much for SUV (Bq/ml?)"
            yield Finding("not in SUV", problem, remedy, value=told["suv_median"], limit=self.limit["suv_most"],
                          exclude=True, **where)  # fmt: skip
        elif told["suv_p95"] < self.limit["suv_least"]:
            problem = f"{name}: 95 % of the body are below {told['suv_p95']:.2g}, too little for SUV"
            yield Finding("not in SUV", problem, remedy, value=told["suv_p95"], limit=self.limit["suv_least"],
                          exclude=True, **where)  # fmt: skip
        if told["negative"] > self.limit["negative"]:
            problem = f"{name}: {100 * told['negative']:.2g} % of the body are negative"
            yield Finding("negative uptake", problem, remedy, WARNING, value=told["negative"],
                          limit=self.limit["negative"], case=case, modality=name)  # fmt: skip


def _air(case: CaseVolumes, name: str) -> float:
    """Median outside the body, NaN where the body fills the volume."""
    outside = case.values(name)[::2, ::2, ::2][~case.body[::2, ::2, ::2]]
    return float(np.nanmedian(outside)) if outside.size > 100 else float("nan")


def _commonest(inside: np.ndarray) -> float:
    """Middle of the fullest bin of 25 HU; values below -500 (air inside the body) do not count unless all are."""
    dense = inside[inside > -500] if (inside > -500).any() else inside
    lower, upper = np.percentile(dense, (1, 99))
    count, edges = np.histogram(dense, bins=max(1, int(np.ceil(max(upper - lower, 25) / 25))), range=(lower, upper + 1))
    peak = int(count.argmax())
    return float((edges[peak] + edges[peak + 1]) / 2)
