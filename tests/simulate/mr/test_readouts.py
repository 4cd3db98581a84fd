"""Radial and spiral readouts against geometry and the point-spread function of a disc of frequencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j1

from medtrans.simulate.mr.encoding import ReadoutEncoding
from medtrans.simulate.mr.readouts import radial, spiral


def point_spread(points: np.ndarray, areas: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What a point in the middle becomes, real part, and the distance from it in voxels."""
    image = torch.zeros(1, size, size, dtype=torch.complex64)
    image[0, size // 2, size // 2] = 1
    encoding = ReadoutEncoding(points, areas, (1, 2), image.shape)
    spread = encoding.adjoint(encoding.sample(image))[0].numpy()
    place = np.arange(size) - size // 2
    return spread, np.hypot(*np.meshgrid(place, place, indexing="ij"))


def jinc(distance: np.ndarray) -> np.ndarray:
    """Inverse Fourier transform of a disc of radius 1/2: J1(πr) / (2r), π/4 at its centre."""
    away = np.where(distance > 0, distance, 1)
    return np.where(distance > 0, j1(np.pi * away) / (2 * away), math.pi / 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 90), st.floats(1, 6), st.floats(0, 3), st.integers(1, 20))
def test_areas_add_up_to_the_disc(matrix, acceleration, start, arms) -> None:
    for points, areas in (
        radial(matrix, acceleration, start),
        radial(matrix, acceleration, start, golden=True),
        spiral(matrix, acceleration, start, arms, centre=0.1),
    ):
        assert areas.sum() == pytest.approx(math.pi / 4, rel=0.4 / matrix**2)
        assert areas.min() > 0
        assert np.hypot(*points).max() <= 0.5


@pytest.mark.parametrize(
    ("readout", "share"), [(radial(48, 1), 0.002), (radial(48, 1, golden=True), 0.02), (spiral(48, 0.8, arms=6), 0.01)]
)
def test_a_whole_measurement_has_the_point_spread_function_of_a_disc(readout, share) -> None:
    """Golden angles leave larger gaps; the spiral's turns are closer than needed, its ring of aliases is outside."""
    spread, distance = point_spread(*readout, 48)
    assert np.abs(spread - jinc(distance)).max() < share * math.pi / 4


@pytest.mark.parametrize("spokes", [12, 20])
def test_streaks_of_n_spokes_begin_two_n_over_pi_voxels_from_a_point(spokes) -> None:
    """Their first angular harmonic is a Bessel function of order 2n, of πr: nothing until πr gets to 2n."""
    points, areas = radial(64, math.pi / 2 * 64 / spokes)
    spread, distance = point_spread(points, areas, 64)
    error, begin = np.abs(spread - jinc(distance)), 2 * spokes / math.pi
    assert error[distance < 0.7 * begin].max() < 2e-3
    assert error[(distance > begin) & (distance < 1.6 * begin)].max() > 0.02


@pytest.mark.parametrize("acceleration", [1, 2, 5])
def test_the_number_of_spokes_is_nyquists_over_the_acceleration(acceleration) -> None:
    points, _ = radial(100, acceleration)
    angles = np.unique(np.round(np.arctan2(points[1], points[0]) % math.pi, 6))
    assert len(angles) == round(157.08 / acceleration)
    assert np.diff(angles) == pytest.approx(math.pi / len(angles), rel=1e-3)


def test_golden_spokes_are_a_golden_angle_apart() -> None:
    points, _ = radial(32, 4, golden=True)
    ends = points.reshape(2, 13, -1)[:, :, -1]
    turned = np.degrees(np.arctan2(ends[1], ends[0]))
    assert (np.diff(turned) % 180) == pytest.approx(111.246, abs=1e-3)


@pytest.mark.parametrize(("acceleration", "centre"), [(1, 0.0), (2, 0.0), (3, 0.2)])
def test_a_spiral_has_the_turns_it_should_and_none_left_out_in_the_centre(acceleration, centre) -> None:
    points, _ = spiral(96, acceleration, arms=8, centre=centre)
    arms = (points[0] + 1j * points[1]).reshape(8, -1)
    turned = np.unwrap(np.angle(arms), axis=1)
    assert (turned[:, -1] - turned[:, 0]).sum() / (2 * math.pi) == pytest.approx(96 / (2 * acceleration), rel=0.01)
    distance = np.abs(arms[0])
    gap = np.gradient(distance, turned[0]) * 2 * math.pi / 8  # to the next of eight arms
    inner = (distance < 0.5 * centre * 0.95) & (distance > 0.01)
    assert np.all(gap[inner] == pytest.approx(1 / 96, rel=1e-3))
    assert (gap[5:-5].max() > 1.05 / 96) == (acceleration > 1)
    assert np.abs(np.diff(arms, axis=1)).max() <= 0.5 / 96 * 1.2  # along the arm, twice as dense as the grid asks for


def test_a_spiral_whose_centre_takes_all_turns_is_refused() -> None:
    with pytest.raises(ValueError, match="centre"):
        spiral(64, 4, centre=0.25)


@pytest.mark.parametrize("readout", [radial(40, 1), radial(40, 1, golden=True), spiral(40, 1, arms=8)])
def test_an_even_object_keeps_its_level_and_air_stays_empty(readout) -> None:
    place = np.arange(40) - 20
    distance = np.hypot(*np.meshgrid(place, place))
    image = torch.as_tensor(100 / (1 + np.exp(2 * (distance - 11))))[None].to(torch.complex64)
    encoding = ReadoutEncoding(*readout, (1, 2), image.shape)
    found = encoding.adjoint(encoding.sample(image))[0].real.numpy()
    assert found[distance < 5].mean() == pytest.approx(100, abs=0.2)
    assert found[(distance > 16) & (distance < 20)].mean() == pytest.approx(0, abs=0.5)
