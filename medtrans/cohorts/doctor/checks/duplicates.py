"""One scan or one head under two names: by voxels, by fine anatomy, and by fine anatomy after a rigid search."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.check import Check, Cohort, Threshold
from medtrans.cohorts.doctor.findings import ERROR, WARNING, Finding
from medtrans.cohorts.doctor.fingerprint import detail, similarity_when_aligned, thumbnail

BLOCK = 500  # rows of the matrix of similarities at a time
ONE_NAME = "If they are one person, give them one name and prepare again; otherwise leave one of them out"
Pair = tuple[str, str]


class Duplicates(Check):
    """The same volume twice, and the same head under two subjects."""

    name = "duplicates"
    title = "one scan or one head under two subjects"
    order = 90
    thresholds: ClassVar[Mapping[str, Threshold]] = {
        "similar": Threshold(0.87, "", "least correlation of fine anatomy, aligned, that makes two scans one head"),
        "candidate": Threshold(0.68, "", "least correlation as they lie for which an alignment is tried"),
        "candidates": Threshold(300, "", "most pairs a modality that are aligned"),
    }

    def measure(self, case: CaseVolumes) -> dict[str, dict[str, Any]]:
        """Modality -> hash of its voxels and its thumbnail."""
        found = {}
        for name in case.modalities:
            voxels = np.ascontiguousarray(case.values(name))
            told: dict[str, Any] = {"hash": hashlib.blake2b(voxels.data, digest_size=16).hexdigest()}
            at = case.percentiles(name) if name in case.on_mask else None
            if at and at[99.0] > at[1.0]:
                told["thumbnail"] = thumbnail(case, name)
            found[name] = told | {"constant": bool(voxels.min() == voxels.max())}
        return found

    def judge(self, cohort: Cohort) -> Iterator[Finding]:
        """Identical volumes first; pairs of cases that are not among them are compared by anatomy."""
        told: set[Pair] = set()
        for finding in self._identical(cohort):
            told.add((finding.case, finding.other))
            yield finding
        for modality in cohort.listing.modalities:
            for first, second, value in self._alike(cohort, modality):
                if (second, first) not in told:
                    told.add((second, first))
                    yield self._same_head(cohort, modality, first, second, value)

    def _identical(self, cohort: Cohort) -> Iterator[Finding]:
        owners: dict[str, list[Pair]] = defaultdict(list)
        for case, volumes in cohort.measured.items():
            for modality, told in volumes.items():
                if not told["constant"]:
                    owners[told["hash"]].append((case, modality))
        done: set[Pair] = set()
        for (first, its), *others in owners.values():
            for case, modality in others:
                if (first, case) in done and first != case:
                    continue
                done.add((first, case))
                if case == first:
                    problem, what = f"its {modality} is voxel by voxel its {its}", "one volume as two modalities"
                    remedy = "One of the two files is the wrong one: convert and prepare the case again"
                else:
                    problem, what = f"its {modality} is voxel by voxel the {its} of {first}", "identical volumes"
                    remedy = ONE_NAME
                one_subject = cohort.cases[case].subject == cohort.cases[first].subject and case != first
                yield Finding(what, problem, remedy, WARNING if one_subject else ERROR, case=case, modality=modality,
                              other=first, value=1.0, exclude=not one_subject)  # fmt: skip

    def _alike(self, cohort: Cohort, modality: str) -> list[tuple[str, str, float]]:
        """Pairs of cases of different subjects that show one head, with their similarity."""
        measured = {
            c: v[modality]["thumbnail"] for c, v in cohort.measured.items() if "thumbnail" in v.get(modality, {})
        }
        names, subject = list(measured), {name: case.subject for name, case in cohort.cases.items()}
        if len(names) < 2:
            return []
        pairs, middle = _closest(detail(np.stack(list(measured.values()))), self.limit["candidate"])
        limit = max(self.limit["similar"], middle + 0.6 * (1 - middle))  # cohorts can be very much alike
        apart = [(value, i, j) for value, i, j in pairs if subject[names[i]] != subject[names[j]]]
        found = []
        for value, i, j in sorted(apart, reverse=True)[: int(self.limit["candidates"])]:
            if value < limit:
                value = max(value, similarity_when_aligned(measured[names[i]], measured[names[j]]))
            if value >= limit:
                found.append((names[i], names[j], value))
        return found

    def _same_head(self, cohort: Cohort, modality: str, first: str, second: str, value: float) -> Finding:
        splits = cohort.cases[first].split, cohort.cases[second].split
        across = splits[0] != splits[1]
        where = f"in {splits[0]}, this one in {splits[1]}" if across else f"in {splits[0]}, too"
        problem = f"its {modality} shows the head of {first}, a different subject ({where})"
        return Finding(
            "one anatomy under two subjects", problem, ONE_NAME, ERROR if across else WARNING, case=second,
            modality=modality, other=first, value=value, limit=self.limit["similar"], exclude=across,
        )  # fmt: skip


def _closest(rows: np.ndarray, least: float) -> tuple[list[tuple[float, int, int]], float]:
    """Pairs ``i < j`` above ``least``, and the median over all pairs (0 for fewer than ten pairs)."""
    pairs: list[tuple[float, int, int]] = []
    sample: list[np.ndarray] = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK] @ rows.T
        below = np.arange(len(rows))[None] > np.arange(start, start + len(block))[:, None]
        sample.append(block[below])
        for i, j in np.argwhere(below & (block > least)):
            pairs.append((float(block[i, j]), int(i) + start, int(j)))
    everything = np.concatenate(sample)
    return pairs, float(np.median(everything)) if everything.size >= 10 else 0.0
