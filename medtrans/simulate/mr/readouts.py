"""Where radial and spiral readouts sample k-space, and the area that each of their samples stands for."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

GOLDEN = math.pi * (math.sqrt(5) - 1) / 2  # 111.25°, Winkelmann et al., IEEE Trans Med Imaging 26 (2007)
EDGE = 0.5  # cycles a voxel: the largest frequency that a grid holds
OVERSAMPLING = 2  # samples along a readout for each that the field of view asks for
# Areas r dr dθ at the middle of each step are a midpoint rule. Where r begins it is dr²/24 too much (Euler-Maclaurin),
# seen as a constant over the whole image, of 2 % of an object that fills a third of it. This takes it away.
INNERMOST = 11 / 12


def radial(matrix: int, acceleration: float, start: float = 0.0, golden: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Straight lines through the zero frequency.

    Args:
        matrix: voxels across the field of view. π/2 times as many spokes sample its whole disc of frequencies.
        acceleration: those / the spokes that are measured.
        start: angle of the first spoke in rad.
        golden: each spoke is turned by the golden angle against the one before, not by equal parts of half a turn.

    Returns:
        Points ``(2, M)`` in cycles a voxel and their areas ``(M,)``, together that of the disc, π/4.
    """
    spokes = max(1, round(math.pi / 2 * matrix / acceleration))
    angles = np.arange(spokes) * (GOLDEN if golden else math.pi / spokes) % math.pi
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + math.pi)
    width = np.empty(spokes)
    width[order] = (gaps + np.roll(gaps, 1)) / 2
    samples = 2 * math.ceil(OVERSAMPLING * matrix / 2)
    place = ((np.arange(samples) + 0.5) / samples - 0.5) * 2 * EDGE
    turn = np.exp(1j * (angles + start))[:, None] * place
    areas = width[:, None] * np.abs(place) / samples
    areas[:, samples // 2 - 1 : samples // 2 + 1] *= INNERMOST
    return np.stack([turn.real.ravel(), turn.imag.ravel()]), areas.ravel()


def spiral(
    matrix: int, acceleration: float, start: float = 0.0, arms: int = 16, centre: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Archimedean spirals from the zero frequency outwards, all alike, at equal angles.

    Args:
        matrix: voxels across the field of view; its frequencies are sampled whole by matrix / 2 turns of all arms,
            1 cycle a field of view apart.
        acceleration: those / the turns that are measured.
        start: angle of the first arm in rad.
        arms: how many, each read in one go.
        centre: share of the radius within which no turn is left out; beyond, the distance of turns grows with the
            radius (variable density, as Lee et al., Magn Reson Med 50, 2003).

    Returns:
        As :func:`radial`.
    """
    turns = matrix / (2 * arms)
    samples = math.ceil(OVERSAMPLING * matrix * max(1.0, math.pi * turns))
    time = (np.arange(samples) + 0.5) / samples
    growth = _growth(1 / acceleration - centre, 1 - centre)
    beyond = np.maximum(time - centre, 0)
    turned = turns * (np.minimum(time, centre) + (np.log1p(growth * beyond) / growth if growth > 0 else beyond))
    angles = 2 * math.pi * (turned + np.arange(arms)[:, None] / arms) + start
    turn = EDGE * time * np.exp(1j * angles)
    areas = np.tile(2 * math.pi * EDGE**2 * time / (arms * samples), (arms, 1))  # r dr dθ over time and arms
    areas[:, 0] *= INNERMOST
    return np.stack([turn.real.ravel(), turn.imag.ravel()]), areas.ravel()


def _growth(wanted: float, radius: float) -> float:
    """How fast the distance of turns, 1 + growth * r, grows so that ``radius`` takes as many turns as ``wanted``."""
    if wanted >= radius * (1 - 1e-9):
        return 0.0
    if wanted <= 0:
        raise ValueError("the centre of the spiral takes all its turns: give a smaller centre or acceleration")
    return float(brentq(lambda growth: math.log1p(growth * radius) / growth - wanted, 1e-9, 1e9))
