"""Values that were cut off: a plateau at the greatest value of a volume, or much of the body outside its window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import WARNING, Finding

PLATEAU = 1e-3  # of the volume's range, below its greatest value


class Clipping(Check):
    """Saturated scans, and windows that cut what a network should see."""

    name = "clipping"
    title = "saturated volumes and windows that cut"
    order = 50
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "plateau": Threshold(0.005, "", "share of the body that may hold the greatest value of the volume"),
        "above_window": Threshold(0.03, "", "share of the body that may lie above the intensity window"),
        "below_window": Threshold(0.03, "", "share of the body that may lie below the intensity window"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, float]]:
        """Modality -> the three shares."""
        found = {}
        for name in case.on_mask:
            inside, at, window = case.inside(name), case.percentiles(name), case.listed.windows.get(name)
            span = at[100.0] - at[0.0]
            if not inside.size or not span > 0:
                continue
            told = {"plateau": _share(inside > at[100.0] - PLATEAU * span)}
            if window is not None:
                width = PLATEAU * (window.upper - window.lower)
                told["above_window"] = _share(inside > window.upper + width)
                told["below_window"] = _share(inside < window.lower - width)
            found[name] = told
        return found

    def columns(self, measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float | str]]:
        """The three shares."""
        return {name: dict(told) for name, told in measured.items()}

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Every volume on its own; all are warnings, because a scan can be bright for good reason."""
        told = {
            "plateau": ("saturated", "of the body holds the volume's greatest value", "Look for a scan that is not cut "
                        "off, or for a conversion that clips"),
            "above_window": ("window cuts bright values", "of the body lies above the intensity window",
                             "Raise the window's upper end in the recipe"),
            "below_window": ("window cuts dark values", "of the body lies below the intensity window",
                             "Lower the window's lower end in the recipe"),
        }  # fmt: skip
        for case, volumes in cohort.measured.items():
            for name, shares in volumes.items():
                for key, share in shares.items():
                    if share > self.limit[key]:
                        what, problem, remedy = told[key]
                        yield Finding(what, f"{name}: {100 * share:.2g} % {problem}", remedy, WARNING, case=case,
                                      modality=name, value=share, limit=self.limit[key])  # fmt: skip


def _share(chosen) -> float:  # type: ignore[no-untyped-def]
    return float(chosen.mean())
