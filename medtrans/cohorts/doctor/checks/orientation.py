"""Whether a case as a whole, all its modalities together, lies as the rest of the cohort does.

Front-back and head-foot are told from the mean of the other cases. Left-right is told from the mean asymmetry map of
the others, where bodies of this cohort have one in common (heart and liver do, heads hardly): otherwise no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import NOTE, Finding
from medtrans.cohorts.doctor.fingerprint import normalised, thumbnail
from medtrans.cohorts.doctor.pair_search import MIRRORS, NAMES

TURNS = tuple(axes for axes in MIRRORS if axes != (0,))


class Orientation(Check):
    """Cases that are mirrored or turned against the cohort."""

    name = "orientation"
    title = "cases mirrored or turned against the cohort"
    order = 80
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "cases": Threshold(6, "", "least number of cases to compare with"),
        "turn": Threshold(0.05, "", "least difference of the correlations with the others' mean, turned and as is"),
        "common": Threshold(0.3, "", "least median correlation of asymmetries for a verdict on left-right"),
        "opposite": Threshold(-0.3, "", "correlation with the others' asymmetry below which a case is mirrored"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, np.ndarray]:
        """Modality -> thumbnail."""
        return {
            name: thumbnail(case, name)
            for name in case.on_mask
            if case.percentiles(name)[99.0] > case.percentiles(name)[1.0]
        }

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """By the first modality that enough cases have; the fit between modalities is the alignment check's."""
        undecided: list[str] = []
        for modality in cohort.listing.modalities:
            thumbnails = {case: found[modality] for case, found in cohort.measured.items() if modality in found}
            if len(thumbnails) < self.limit["cases"]:
                undecided.append(f"{modality} ({len(thumbnails)} cases)")
                continue
            images = np.stack(list(thumbnails.values())).astype(np.float32)
            yield from self._turned(modality, list(thumbnails), images)
            yield from self._left_right(modality, list(thumbnails), images)
        if undecided:
            problem = f"too few cases to compare with: {', '.join(undecided)}"
            yield Finding("orientation not decidable", problem, "Look at the pictures", NOTE, limit=self.limit["cases"])

    def _turned(self, modality: str, names: list[str], images: np.ndarray) -> Iterator[Finding]:
        """Front-back, head-foot, and the turns that include them."""
        here = _with_others(images, images)
        turned = {axes: _with_others(images, np.flip(images, tuple(axis + 1 for axis in axes))) for axes in TURNS}
        for index, name in enumerate(names):
            axes = max(TURNS, key=lambda axes: turned[axes][index])
            gain = float(turned[axes][index] - here[index])
            if gain > self.limit["turn"]:
                problem = f"{modality} resembles the other cases more when it is {NAMES[axes]}"
                yield self._finding(NAMES[axes], problem, name, modality, gain, self.limit["turn"])

    def _left_right(self, modality: str, names: list[str], images: np.ndarray) -> Iterator[Finding]:
        """By the asymmetry that the cohort has in common, if it has one."""
        asymmetry = images - np.flip(images, 1)
        agreement = _with_others(asymmetry, asymmetry)
        common = float(np.median(agreement))
        if common < self.limit["common"]:
            problem = f"{modality}: the cases have no asymmetry in common, so a case flipped as a whole cannot be told"
            yield Finding("left-right not decidable", problem, "Trust the conversion, or mark one side in the scanner",
                          NOTE, modality=modality, value=common, limit=self.limit["common"])  # fmt: skip
            return
        for index in np.flatnonzero(agreement < self.limit["opposite"]):
            problem = f"the asymmetry of its {modality} is opposite to that of the other cases"
            yield self._finding(
                NAMES[(0,)], problem, names[index], modality, float(agreement[index]), self.limit["opposite"]
            )

    def _finding(self, what: str, problem: str, case: str, modality: str, value: float, limit: float) -> Finding:
        remedy = "Look at its picture, and convert it again from the scanner's files"
        return Finding(what, problem, remedy, case=case, modality=modality, other="the other cases", value=value,
                       limit=limit, exclude=True)  # fmt: skip


def _with_others(images: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Correlation of each of ``own`` with the mean of all ``images`` but its own, ``(N,)``."""
    flat, mine = (array.reshape(len(images), -1) for array in (images, own))
    others = flat.sum(axis=0, keepdims=True) - flat
    return (normalised(others) * normalised(mine)).sum(axis=1)
