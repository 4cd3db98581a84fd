"""Whether planes lie at even distances; where they do not: what is usual, what is missing, the longest even run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medtrans.errors import InputError

ROUNDED = 1e-6  # mm; differences of rounded positions are a little off the tolerance they are meant to meet
SHOWN = 5  # uneven distances a message lists
RUN = 3  # planes of equal distance that make a run


def tolerance(spacing: float) -> float:
    """How far, in mm, a plane may be off its even place: 1 % of the spacing or 0.1 mm, at most a quarter of it.

    Headers round positions. The comparison is with the places of an even stack, not from plane to plane, so that
    neither rounding (0.6, 0.6, 0.7 mm for 0.625) passes for a gap nor a small error that adds up for an even stack.
    """
    return min(max(0.01 * spacing, 0.1), 0.25 * spacing) + ROUNDED


def is_even(places: np.ndarray) -> bool:
    """Whether ``places`` (mm, ascending) are those of an even stack from the first to the last."""
    if len(places) < 3:
        return True
    step = (places[-1] - places[0]) / (len(places) - 1)
    even = places[0] + np.arange(len(places)) * step
    return bool(np.abs(places - even).max() <= tolerance(float(step)))


def usual_distance(places: np.ndarray) -> float:
    """The smallest distance, in mm, that at least a quarter of all neighbours share; else the most frequent one.

    The smallest, so that no measured plane is lost where a series is finer in one part than in another.
    """
    distances = np.diff(places)
    alike = [np.abs(distances - d) <= tolerance(float(d)) for d in distances]
    counts = np.array([group.sum() for group in alike])
    wanted = counts >= max(2.0, len(distances) / 4)
    chosen = np.flatnonzero(wanted if wanted.any() else counts == counts.max())
    return float(distances[alike[chosen[np.argmin(distances[chosen])]]].mean())


def even_places(places: np.ndarray) -> tuple[np.ndarray | None, float]:
    """Where planes stand in an even stack with planes missing.

    Returns:
        The number of each plane in that stack, from 0, and its spacing in mm; None and the usual distance where the
        distances are no multiples of it.
    """
    usual = usual_distance(places)
    steps = np.rint(np.diff(places) / usual).astype(int)
    numbers = np.concatenate([[0], np.cumsum(steps)])
    spacing = float(places[-1] - places[0]) / max(int(numbers[-1]), 1)
    off = np.abs(places - places[0] - numbers * spacing).max()
    return (numbers, spacing) if steps.min() > 0 and off <= tolerance(spacing) else (None, usual)


def even_runs(places: np.ndarray) -> list[range]:
    """The longest even runs of planes from the first plane on; a run starts with the plane that ended the last."""
    runs, start = [], 0
    while start < len(places) - 1:
        stop = start + 2
        while stop < len(places) and is_even(places[start : stop + 1]):
            stop += 1
        runs.append(range(start, stop))
        start = stop - 1
    return runs


def largest_run(places: np.ndarray) -> range:
    """The even run with most planes; of equal ones the one that spans most.

    Raises:
        InputError: not even three planes follow one another evenly.
    """
    best = max(even_runs(places), key=lambda run: (len(run), places[run[-1]] - places[run[0]]))
    if len(best) < RUN:
        raise InputError(
            "series", f"no {RUN} of its {len(places)} slices are evenly spaced", "Export the missing slices"
        )
    return best


def coordinate(position: Sequence[float] | np.ndarray, normal: np.ndarray) -> str:
    """The coordinate of ImagePositionPatient that counts slices, such as ``z = 12.500``."""
    axis = int(np.argmax(np.abs(normal)))
    return f"{'xyz'[axis]} = {position[axis]:.3f}"


def how_uneven(places: np.ndarray, coordinates: Sequence[str]) -> str:
    """In numbers, what is uneven: distances, where they are, and how many slices are missing."""
    distances = np.diff(places)
    said = f"{len(places)} slices are not evenly spaced: "
    runs = [run for run in even_runs(places) if len(run) >= RUN]
    spacings = [(places[run[-1]] - places[run[0]]) / (len(run) - 1) for run in runs]
    if len(runs) > 1 and max(abs(s - spacings[0]) for s in spacings) > tolerance(min(spacings)):
        told = [f"{len(run)} {step:.3f} mm apart from slice {run[0] + 1} ({coordinates[run[0]]})"
                for run, step in zip(runs, spacings, strict=True)]  # fmt: skip
        return said + _listed(told)
    numbers, usual = even_places(places)
    odd = np.flatnonzero(np.abs(distances - usual) > tolerance(usual))
    if not odd.size:
        off = np.abs(places - np.linspace(places[0], places[-1], len(places))).max()
        return f"{said}distances of {distances.min():.3f} to {distances.max():.3f} mm drift {off:.3f} mm away"
    told = [f"{distances[k]:.3f} after slice {k + 1} ({coordinates[k]})" for k in map(int, odd)]
    said += f"mostly {usual:.3f} mm apart, but {_listed(told)}"
    missing = int(numbers[-1]) + 1 - len(places) if numbers is not None else 0
    return said + (f": {missing} {'slice is' if missing == 1 else 'slices are'} missing" if missing else "")


def _listed(told: Sequence[str]) -> str:
    return ", ".join(told[:SHOWN]) + (f" and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
