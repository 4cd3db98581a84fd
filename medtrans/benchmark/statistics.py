"""Means with bootstrap intervals over subjects, and paired tests against a baseline, corrected by Holm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9999
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval; ends are NaN for fewer than two values."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One row against the baseline, subject by subject.

    Args:
        subjects: those that have a finite value in both.
        difference: mean of row − baseline, with its interval.
        better: subjects in which the row is better.
        p: two-sided Wilcoxon signed-rank test; NaN without any difference or subject.
    """

    subjects: int
    difference: Interval
    better: int
    p: float


def interval(values: Sequence[float] | np.ndarray, seed: int = 0) -> Interval:
    """Mean and 95 % interval of the mean: bias-corrected and accelerated bootstrap (Efron 1987), over subjects.

    Args:
        values: one a subject; values that are not finite are left out.
        seed: of the resampling, so that the same values give the same interval.
    """
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 2:
        return Interval(float(finite[0]) if len(finite) else math.nan, math.nan, math.nan)
    mean = float(finite.mean())
    if np.ptp(finite) == 0:
        return Interval(mean, mean, mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where the acceleration is degenerate the percentiles take its place
        for method in ("BCa", "percentile"):
            found = stats.bootstrap(
                (finite,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, method=method,
                random_state=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
            if np.isfinite([found.low, found.high]).all():
                return Interval(mean, float(found.low), float(found.high))
    return Interval(mean, math.nan, math.nan)


def paired(row: Mapping[str, float], baseline: Mapping[str, float], higher_is_better: bool) -> Paired:
    """Compare two rows of one metric over the subjects they share.

    Args:
        row: subject -> value.
        baseline: subject -> value.
        higher_is_better: the metric's direction.
    """
    shared = [name for name in row if name in baseline and np.isfinite(row[name]) and np.isfinite(baseline[name])]
    differences = np.array([row[name] - baseline[name] for name in shared], float)
    better = int((differences > 0).sum() if higher_is_better else (differences < 0).sum())
    p = math.nan
    if np.any(differences):
        p = float(stats.wilcoxon(differences).pvalue)
    return Paired(len(shared), interval(differences), better, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of a family of p-values; NaN stays NaN and does not count."""
    corrected = [math.nan] * len(p_values)
    order = sorted((place for place, p in enumerate(p_values) if not math.isnan(p)), key=lambda place: p_values[place])
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def smallest_p(subjects: int) -> float:
    """The smallest p-value that the two-sided test can give with so many subjects, before any correction."""
    return min(1.0, 2.0 ** (1 - subjects)) if subjects > 0 else 1.0
