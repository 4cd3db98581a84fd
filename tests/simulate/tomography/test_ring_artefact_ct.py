"""Rings lie where the detector's faulty channels are."""

from __future__ import annotations

import numpy as np
import pytest

from medtrans.simulate import RingArtefactCT
from medtrans.simulate.degradation import Parameters
from medtrans.simulate.tomography.ct import WATER

SIZE = 101
AXIS = np.arange(SIZE) - SIZE // 2
RADII = np.hypot(AXIS[:, None], AXIS[None])
WATER_BATH = np.zeros((1, SIZE, SIZE, 6), np.float32)


def ring(offset: float, gain: float = 1.0, row: int = 0, rows: int = 1) -> np.ndarray:
    """The change by one channel, ``(X, Y, Z)``."""
    fault: Parameters = {"offset_mm": offset, "gain_percent": gain, "row": row}
    parameters = {"views": 180, "window": "hann", "faults": [fault], "rows": rows}
    return RingArtefactCT().reapply(WATER_BATH, parameters, (1, 1, 2)).numpy()[0]


@pytest.mark.parametrize("offset", [12.0, -25.0, 40.0])
def test_a_ring_has_the_radius_of_its_channel_all_around(offset: float) -> None:
    change = ring(offset)[..., 0]
    radii = np.arange(2, 48)
    profile = np.array([change[np.abs(RADII - radius) < 0.5].mean() for radius in radii])
    assert radii[np.argmin(profile)] == pytest.approx(abs(offset), abs=1)  # a channel that counts too much is darker
    on_ring = np.abs(RADII - abs(offset)) < 0.5
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    quadrants = [change[on_ring & (sx * AXIS[:, None] > 0) & (sy * AXIS > 0)].mean() for sx, sy in signs]
    assert max(quadrants) < 0.8 * min(quadrants) < 0
    assert np.abs(change[abs(offset) - 5 > RADII]).max() < 0.35 * np.abs(quadrants).max()


def test_a_ring_is_as_strong_as_the_radon_inverse_of_a_line_of_error() -> None:
    offset, width, gain = 20.0, 1.0, 1.0
    error = -np.log1p(gain / 100) * 1000 / WATER
    change = ring(offset, gain)[..., 0]
    # in the middle of the ring every view adds the ramp at distance s: -1 / (2 π² s²) a mm and radian, over half a turn
    expected = -error * width * np.pi / (2 * np.pi**2 * offset**2)
    assert change[RADII < 3].mean() == pytest.approx(expected, rel=0.1)


def test_gains_of_opposite_sign_cancel_and_double_gains_double() -> None:
    up, down, double = ring(20, 1.0), ring(20, -1.0), ring(20, 2.0)
    np.testing.assert_allclose(up, -down * np.log(1.01) / -np.log(0.99), atol=1e-2)
    np.testing.assert_allclose(double, up * np.log(1.02) / np.log(1.01), atol=1e-2)


def test_a_channel_meets_the_slices_of_its_row() -> None:
    change = ring(20, row=1, rows=3)
    assert [bool(np.any(change[..., z])) for z in range(6)] == [False, True, False, False, True, False]


def test_faults_are_drawn_within_their_ranges() -> None:
    degradation = RingArtefactCT(channels=200, gain=(1, 2), radius=(10, 400), rows=4).set_random_state(0)
    faults = degradation.draw((1, 60, 80, 5), (1.0, 1.0, 1.0))["faults"]
    assert len(faults) == 200
    offsets, gains = (np.array([fault[name] for fault in faults]) for name in ("offset_mm", "gain_percent"))
    assert 10 <= np.abs(offsets).min() < 12
    assert 28 < np.abs(offsets).max() <= 30  # half of the shorter side
    assert 1 <= np.abs(gains).min() < np.abs(gains).max() <= 2
    assert min((offsets < 0).mean(), (gains < 0).mean()) > 0.35
    assert {fault["row"] for fault in faults} == {0, 1, 2, 3}
