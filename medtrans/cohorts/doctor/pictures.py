"""Pictures of the worst cases, with what was found in the title: checkerboard and overlay in three planes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medtrans.cohorts.doctor.case_volumes import CaseVolumes
from medtrans.cohorts.doctor.findings import ERROR, NOTE, Finding
from medtrans.cohorts.doctor.listing import Listed, Listing
from medtrans.cohorts.quality import draw_case
from medtrans.transforms.window import Window

MOST_TOLD = 3
logger = logging.getLogger(__name__)


def worst_first(findings: Sequence[Finding]) -> list[str]:
    """Cases with errors or warnings: most errors first, then most warnings."""
    score: Counter[str] = Counter()
    for finding in findings:
        if finding.case and finding.severity != NOTE:
            score[finding.case] += 1000 if finding.severity == ERROR else 1
    return [case for case, _ in score.most_common()]


def draw_worst(listing: Listing, findings: Sequence[Finding], folder: Path, most: int) -> dict[str, Path]:
    """Draw up to ``most`` cases; returns case -> picture. Pictures of an earlier check are removed."""
    for old in folder.glob("*.png"):
        old.unlink()
    cases = {case.name: case for case in listing.cases}
    drawn: dict[str, Path] = {}
    for name in [name for name in worst_first(findings) if name in cases][:most]:
        told = [f.what for f in findings if f.case == name and f.severity != NOTE]
        title = f"{name}   {', '.join(list(dict.fromkeys(told))[:MOST_TOLD])}"
        path = folder / f"{name}.png"
        if _drawn(path, title, cases[name]):
            drawn[name] = path
    return drawn


def _drawn(path: Path, title: str, case: Listed) -> bool:
    """Whether there was something to draw: the modalities that can be read and share the first one's shape."""
    kinds = dict.fromkeys(case.files, "MR")
    volumes = CaseVolumes(case, kinds, {}, next(iter(case.files), ""))
    shown: dict[str, np.ndarray] = {}
    for name in volumes.modalities:
        values = np.nan_to_num(volumes.values(name))
        if not shown or values.shape == next(iter(shown.values())).shape:
            shown[name] = values
    if not shown:
        return False
    windows = {name: case.windows.get(name) or _range(values) for name, values in shown.items()}
    first = next(iter(shown.values()))
    mask = volumes.body if volumes.body.shape == first.shape else np.zeros(first.shape, bool)
    draw_case(path, title, shown, windows, mask, tuple(volumes.spacing.tolist()))
    return True


def _range(values: np.ndarray) -> Window:
    lower, upper = np.percentile(values[::2, ::2, ::2], (1, 99)).tolist()
    return Window(lower, max(upper, lower + 1e-6))
