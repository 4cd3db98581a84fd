"""Which phase encodings of a Cartesian scan are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Random = np.random.Generator
DENSITY = 0.4  # standard deviation of the Gaussian density of samples, as a share of the largest frequency
CROWDED = 0.3  # distance of Poisson-disc samples at the centre, as a share of that at the largest frequency


def cartesian_mask(
    pattern: str, shape: Sequence[int], acceleration: float, centre: float, random: Random
) -> np.ndarray:
    """The measured phase encodings, with the zero frequency at index n // 2.

    Args:
        pattern: of :data:`PATTERNS`. ``random``: any is as likely; ``gaussian``: the likelihood falls with the
            frequency; ``poisson``: none is close to another, with distances that grow with the frequency;
            ``equispaced``: a lattice, along two axes one of √acceleration each.
        shape: number of phase encodings along one axis or two.
        acceleration: all encodings / measured ones.
        centre: share of each axis that is measured whole, around the zero frequency (as in fastMRI's masks).
        random: where chance comes from.

    Returns:
        bool of ``shape``: round(all / acceleration) are True, or the centre where that is more; the number of
        ``equispaced`` is off by a line or two.
    """
    kept = _centre(shape, centre)
    if pattern == "equispaced":
        share = acceleration ** (1 / len(shape))
        lattices = [_lattice(size, share, _centre([size], centre), random) for size in shape]
        return lattices[0] if len(shape) == 1 else np.outer(*lattices)
    wanted = round(kept.size / acceleration) - int(kept.sum())
    return PATTERNS[pattern](kept, wanted, random) if wanted > 0 else kept


def radius(shape: Sequence[int]) -> np.ndarray:
    """Distance from the zero frequency, 1 at the largest of each axis."""
    axes = [(np.arange(size) - size // 2) / max(size / 2, 1) for size in shape]
    return np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))


def _centre(shape: Sequence[int], share: float) -> np.ndarray:
    """The block of low frequencies, placed as fastMRI and MONAI place it."""
    kept = np.zeros(shape, bool)
    counts = [round(size * share) for size in shape]
    starts = [(size - count + 1) // 2 for size, count in zip(shape, counts, strict=True)]
    kept[tuple(slice(start, start + count) for start, count in zip(starts, counts, strict=True))] = True
    return kept


def _lattice(size: int, acceleration: float, kept: np.ndarray, random: Random) -> np.ndarray:
    """Lines at equal distances beside the centre, so far apart that all of them together are size / acceleration."""
    mask, count = kept.copy(), int(kept.sum())
    if size / acceleration <= count or count == size:
        return mask
    step = acceleration * (size - count) / (size - count * acceleration)
    start = int(random.integers(0, max(1, round(step))))
    mask[np.round(np.arange(start, size - 0.5, step)).astype(int)] = True
    return mask


def _weighted(kept: np.ndarray, wanted: int, random: Random, log_density: np.ndarray) -> np.ndarray:
    """Samples drawn one after the other in proportion to a density, none twice (Gumbel's top k)."""
    priority = np.where(kept, -np.inf, log_density + random.gumbel(size=kept.shape))
    mask = kept.copy()
    mask.flat[np.argpartition(priority, -wanted, axis=None)[-wanted:]] = True
    return mask


def _random(kept: np.ndarray, wanted: int, random: Random) -> np.ndarray:
    return _weighted(kept, wanted, random, np.zeros(kept.shape))


def _gaussian(kept: np.ndarray, wanted: int, random: Random) -> np.ndarray:
    return _weighted(kept, wanted, random, -0.5 * (radius(kept.shape) / DENSITY) ** 2)


def _poisson(kept: np.ndarray, wanted: int, random: Random) -> np.ndarray:
    """Dart throwing; distances are scaled until the number fits, and the last few go by chance."""
    order = random.permutation(np.flatnonzero(~kept))
    best, scale = np.ones_like(kept), (len(order) / wanted) ** (1 / kept.ndim)
    for _ in range(8):
        thrown = _darts(kept, order, scale)
        found = int(thrown.sum()) - int(kept.sum())
        best = thrown if wanted <= found < int(best.sum()) - int(kept.sum()) else best
        if wanted <= found <= 1.02 * wanted:
            break
        scale *= (found / (1.01 * wanted)) ** (1 / kept.ndim)
    surplus = int(best.sum()) - int(kept.sum()) - wanted
    best.flat[random.permutation(np.flatnonzero(best & ~kept))[:surplus]] = False
    return best


def _darts(kept: np.ndarray, order: np.ndarray, scale: float) -> np.ndarray:
    """Samples in ``order``, each unless an earlier one is closer than ``scale`` times what its frequency asks."""
    mask, free = kept.copy(), ~kept
    distance = scale * (CROWDED + (1 - CROWDED) * radius(kept.shape) / math.sqrt(kept.ndim))
    reach = int(distance.max())
    offsets = np.arange(-reach, reach + 1)
    squares = np.sum([axis**2 for axis in np.meshgrid(*[offsets] * kept.ndim, indexing="ij")], axis=0)
    for place in zip(*(axis.tolist() for axis in np.unravel_index(order, kept.shape)), strict=True):
        if not free[place]:
            continue
        mask[place] = True
        near = int(distance[place])
        around, inside = [], []
        for at, size in zip(place, kept.shape, strict=True):
            first, last = max(at - near, 0), min(at + near + 1, size)
            around.append(slice(first, last))
            inside.append(slice(first - at + reach, last - at + reach))
        free[tuple(around)] &= squares[tuple(inside)] >= distance[place] ** 2
    return mask


PATTERNS: dict[str, Callable[[np.ndarray, int, Random], np.ndarray]] = {
    "random": _random,
    "gaussian": _gaussian,
    "poisson": _poisson,
}
CARTESIAN = ("equispaced", *PATTERNS)
