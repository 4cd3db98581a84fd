"""Cartesian masks: how many encodings they keep, and which."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.apps.reconstruction.transforms.array import RandomKspaceMask

from medtrans.simulate.mr.masks import CARTESIAN, cartesian_mask, radius


def mask_of(pattern: str, shape: tuple[int, ...], acceleration: float, centre: float = 0.0, seed: int = 0):
    return cartesian_mask(pattern, shape, acceleration, centre, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CARTESIAN),
    st.lists(st.integers(12, 70), min_size=1, max_size=2).map(tuple),
    st.floats(1, 8),
    st.integers(0, 9),
)
def test_the_acceleration_asked_for_is_the_one_there_is(pattern, shape, acceleration, seed) -> None:
    centre = 0.1
    mask = mask_of(pattern, shape, acceleration, centre, seed)
    if pattern == "equispaced":
        share = acceleration ** (1 / len(shape))
        lines = [mask.any(axis=1), mask.any(axis=0)] if len(shape) == 2 else [mask]
        for line, size in zip(lines, shape, strict=True):
            assert abs(line.sum() - size / share) <= 2
    else:
        least = np.prod([round(size * centre) for size in shape])
        assert mask.sum() == max(round(mask.size / acceleration), least)


@pytest.mark.parametrize("pattern", CARTESIAN)
@pytest.mark.parametrize("size", [63, 64])
def test_the_centre_is_whole_and_lies_where_monais_mask_has_it(pattern, size) -> None:
    monai = RandomKspaceMask([0.2], [1e9], spatial_dims=2, is_complex=True)  # so fast that the centre alone is left
    monai(torch.zeros(1, 1, size, 2))
    centre = monai.mask.numpy().ravel() > 0
    for seed in range(5):
        assert mask_of(pattern, (size,), 4, 0.2, seed)[centre].all()
        assert mask_of(pattern, (size, size), 4, 0.2, seed)[np.outer(centre, centre)].all()
    assert centre[size // 2]


@pytest.mark.parametrize("pattern", CARTESIAN)
@pytest.mark.parametrize("shape", [(31,), (32,), (12, 17)])
def test_acceleration_1_leaves_nothing_out(pattern, shape) -> None:
    assert mask_of(pattern, shape, 1, 0.08).all()


def test_equispaced_lines_without_a_centre_are_a_lattice() -> None:
    lines = np.flatnonzero(mask_of("equispaced", (64,), 4, seed=3))
    assert len(lines) == 16
    assert set(np.diff(lines)) == {4}
    assert len({np.flatnonzero(mask_of("equispaced", (64,), 4, seed=seed))[0] for seed in range(20)}) == 4


def test_gaussian_and_poisson_masks_are_denser_at_low_frequencies_and_random_ones_are_not() -> None:
    distance = radius((64, 64))
    inner, outer = distance < 0.4, (distance > 0.6) & (distance < 1)

    def ratio(pattern: str) -> float:
        masks = [mask_of(pattern, (64, 64), 6, 0, seed) for seed in range(4)]
        return float(np.mean([mask[inner].mean() for mask in masks]) / np.mean([mask[outer].mean() for mask in masks]))

    assert ratio("gaussian") > 2
    assert ratio("poisson") > 1.5
    assert 0.8 < ratio("random") < 1.25


def test_gaussian_samples_follow_their_density() -> None:
    """One in a thousand is drawn without noticing the others, so frequencies are in proportion to the density."""
    counts = sum(mask_of("gaussian", (1000,), 100, 0, seed).astype(int) for seed in range(600))
    near, far = counts[450:551].sum(), counts[[*range(250, 300), *range(700, 750)]].sum()
    expected = np.exp(-0.5 * (np.linspace(-0.1, 0.1, 101) / 0.4) ** 2).mean()
    expected /= np.exp(-0.5 * (np.linspace(0.4, 0.5, 50) / 0.4) ** 2).mean()
    assert near / far == pytest.approx(expected * 101 / 100, rel=0.12)


def test_poisson_samples_keep_a_distance_that_random_ones_do_not() -> None:
    def nearest(pattern: str) -> float:
        places = np.argwhere(mask_of(pattern, (64, 64), 8, 0, 1) & (radius((64, 64)) > 0.7))
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
        return float(np.quantile(apart[~np.eye(len(places), dtype=bool)].reshape(len(places), -1).min(1), 0.05))

    assert nearest("poisson") > 2
    assert nearest("random") == 1


def test_masks_are_a_matter_of_the_seed() -> None:
    for pattern in CARTESIAN:
        assert np.array_equal(mask_of(pattern, (40, 30), 4, 0.1, 1), mask_of(pattern, (40, 30), 4, 0.1, 1))
        assert not np.array_equal(mask_of(pattern, (40, 30), 4, 0.1, 1), mask_of(pattern, (40, 30), 4, 0.1, 2))
