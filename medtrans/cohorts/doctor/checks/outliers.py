"""Cases that differ from the cohort in intensity, in the body's size and place, or in shape and spacing.

Distances are robust: from the median, in units of the median absolute deviation (times 1.4826, a standard deviation
for normal values), which a few wrong cases do not move.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes, centre_of
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import WARNING, Finding

AXES = ("left-right", "back-front", "foot-head")
LOOK = "Look at its picture; leave it out if the scan is not what it should be"


class Feature(NamedTuple):
    """What is compared, and the least spread that is taken for the cohort's."""

    told: str
    floor: float
    unit: str
    logarithmic: bool = False


FEATURES = {
    "median": Feature("median inside the body", 10.0, ""),
    "p95": Feature("95th percentile inside the body", 10.0, ""),
    "log_median": Feature("median inside the body", 0.08, "", True),
    "log_contrast": Feature("95th percentile over the median inside the body", 0.05, "", True),
    "log_window": Feature("upper end of the intensity window", 0.08, "", True),
    "log_body_litres": Feature("volume of the body mask", 0.05, "l", True),
    **{f"centre_{axis}_mm": Feature(f"middle of the body {axis}", 4.0, "mm") for axis in AXES},
    **{f"extent_{axis}_mm": Feature(f"extent of the body {axis}", 4.0, "mm") for axis in AXES},
}


class Outliers(Check):
    """Robust outliers among the cases."""

    name = "outliers"
    title = "intensity, size, place, shape and spacing unlike the cohort's"
    order = 100
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "z": Threshold(6.0, "", "robust standard deviations from the cohort's median"),
        "cases": Threshold(8, "", "least number of cases to compare with"),
        "common": Threshold(0.8, "", "share of the cases above which a shape or spacing is the cohort's"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, float | tuple[float, ...]]]:
        """Modality (``""``: the body) -> feature -> value."""
        found: dict[str, dict[str, float | tuple[float, ...]]] = {}
        for name in case.on_mask:
            at, window = case.percentiles(name), case.listed.windows.get(name)
            if case.kinds[name] == "CT":
                found[name] = {"median": at[50.0], "p95": at[95.0]}
            elif at[50.0] > 0:
                found[name] = {
                    "log_median": float(np.log(at[50.0])), "log_contrast": float(np.log(at[95.0] / at[50.0]))
                }  # fmt: skip
                if window is not None and case.kinds[name] == "MR" and window.upper > 0:
                    found[name]["log_window"] = float(np.log(window.upper))
        if case.images:
            found[""] = _body(case)
        return found

    def columns(self, measured: dict[str, dict[str, float | tuple[float, ...]]]) -> dict[str, dict[str, float | str]]:
        """The features, logarithms undone."""
        return {
            name: {
                key.removeprefix("log_"): float(np.exp(value)) if key.startswith("log_") else value
                for key, value in told.items()
                if isinstance(value, float)
            }
            for name, told in measured.items()
        }

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Every feature over all cases that have it."""
        features: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        for case, found in cohort.measured.items():
            for modality, told in found.items():
                for key, value in told.items():
                    if isinstance(value, float) and np.isfinite(value):
                        features[modality, key][case] = value
        for (modality, key), values in features.items():
            if len(values) >= self.limit["cases"]:
                yield from self._outliers(modality, FEATURES[key], values)
        yield from self._uncommon(cohort)

    def _outliers(self, modality: str, feature: Feature, values: dict[str, float]) -> Iterator[Finding]:
        array = np.array(list(values.values()))
        middle = float(np.median(array))
        spread = max(1.4826 * float(np.median(np.abs(array - middle))), feature.floor)
        for (case, value), z in zip(values.items(), np.abs(array - middle) / spread, strict=True):
            if z > self.limit["z"]:
                shown, usual = (np.exp([value, middle]) if feature.logarithmic else np.array([value, middle])).tolist()
                unit = f" {feature.unit}" if feature.unit else ""
                where = f"{modality}: " if modality else ""
                problem = f"{where}{feature.told} is {shown:.4g}{unit}, the cohort's median {usual:.4g}{unit}"
                yield Finding("outlier", problem, LOOK, WARNING, case=case, modality=modality, other=feature.told,
                              value=float(z), limit=self.limit["z"])  # fmt: skip

    def _uncommon(self, cohort: Cohort) -> Iterator[Finding]:
        """Shapes and spacings that differ from one that nearly all cases share."""
        for key, told in (("shape", "voxels"), ("spacing", "mm")):
            values = {case: found[""][key] for case, found in cohort.measured.items() if "" in found}
            for axis in range(3):
                along = {case: value[axis] for case, value in values.items() if isinstance(value, tuple)}
                if len(along) < 3:
                    continue
                usual, count = Counter(along.values()).most_common(1)[0]
                if not self.limit["common"] * len(along) <= count < len(along):
                    continue
                for case, value in along.items():
                    if value != usual:
                        problem = f"{value:g} {told} {AXES[axis]}, {count} of {len(along)} cases have {usual:g}"
                        remedy = "Prepare it again with the recipe of the others"
                        yield Finding(f"uncommon {key}", problem, remedy, WARNING, case=case, other=AXES[axis],
                                      value=float(value), unit=told)  # fmt: skip


def _body(case: CaseVolumes) -> dict[str, float | tuple[float, ...]]:
    """Volume, middle (from the volume's middle) and extent of the body; shape and spacing of the grid."""
    body, spacing = case.body, case.spacing
    found: dict[str, float | tuple[float, ...]] = {
        "shape": tuple(float(n) for n in body.shape),
        "spacing": tuple(np.round(spacing, 4).tolist()),
    }
    if not body.any():
        return found
    found["log_body_litres"] = float(np.log(body.sum() * spacing.prod() / 1e6))
    centre = (centre_of(case.coarse_body) * case.steps + (np.array(case.steps) - 1) / 2) * spacing
    middle = (np.array(body.shape) - 1) / 2 * spacing
    for axis, told in enumerate(AXES):
        along = np.flatnonzero(body.any(axis=tuple(other for other in range(3) if other != axis)))
        found[f"centre_{told}_mm"] = float(centre[axis] - middle[axis])
        found[f"extent_{told}_mm"] = float((along[-1] - along[0] + 1) * spacing[axis])
    return found
