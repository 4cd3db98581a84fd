"""What each kind of movement does, and that its record gives it again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medtrans.simulate.mr.poses import turns_and_shifts
from medtrans.simulate.mr.trajectories import KINDS, NECK, NECK_IN_PLANE, draw_trajectory, poses_at, scaled

DURATION = 200.0
SECONDS = np.linspace(0, DURATION, 4001)


def drawn(kind, seed=0, planar=False):
    return draw_trajectory(kind, np.random.RandomState(seed), DURATION, planar)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_record_gives_the_same_poses_and_so_does_the_seed(kind, planar):
    trajectory = drawn(kind, 1, planar)
    poses = poses_at(trajectory, SECONDS)
    assert poses.shape == (4001, 6)
    assert np.array_equal(poses, poses_at(json.loads(json.dumps(trajectory)), SECONDS))
    assert np.array_equal(poses, poses_at(drawn(kind, 1, planar), SECONDS))
    assert not np.array_equal(poses, poses_at(drawn(kind, 2, planar), SECONDS))
    assert np.allclose(poses_at(scaled(trajectory, 2.5), SECONDS), 2.5 * poses)


@pytest.mark.parametrize("kind", KINDS)
def test_within_a_slice_the_head_turns_and_shifts_in_its_plane_only(kind):
    poses = poses_at(drawn(kind, planar=True), SECONDS)
    assert not poses[:, [0, 1, 5]].any()
    assert np.ptp(poses[:, 2]) > 0


def test_steps_are_sudden_and_rest_between():
    for seed in range(10):
        trajectory = drawn("steps", seed)
        moves = np.flatnonzero(np.abs(np.diff(poses_at(trajectory, SECONDS), axis=0)).max(1))
        assert 1 <= len(moves) <= 4
        assert np.allclose(SECONDS[moves], trajectory["seconds"][1:], atol=DURATION / 4000)


def test_a_drift_goes_one_way_to_its_amplitude():
    trajectory = drawn("drift")
    poses = poses_at(trajectory, SECONDS)
    assert ((np.diff(poses, axis=0) * np.sign(poses[-1])) >= 0).all()
    assert not poses[0].any()
    assert np.allclose(poses[-1], trajectory["amplitude"])


@pytest.mark.parametrize(("kind", "axis", "periods"), [("nodding", 0, (3, 10)), ("tilting", 1, (20, 90))])
def test_nodding_and_tilting_swing_about_the_neck(kind, axis, periods):
    trajectory = drawn(kind, 3)
    assert periods[0] <= trajectory["period"] <= periods[1]
    poses = poses_at(trajectory, SECONDS)
    assert np.abs(poses[:, :3]).max(0).argmax() == axis
    spectrum = np.abs(np.fft.rfft(poses[:-1, axis]))
    assert np.fft.rfftfreq(4000, DURATION / 4000)[spectrum.argmax()] == pytest.approx(
        1 / trajectory["period"], abs=1 / DURATION
    )
    turns, shifts = turns_and_shifts(poses)
    assert np.abs(turns @ NECK + shifts - NECK).max() < 0.05  # mm, of the 1.6 that the centre moves

    flat = poses_at(drawn(kind, 3, planar=True), SECONDS)
    turns, shifts = turns_and_shifts(flat)
    assert np.abs(turns @ NECK_IN_PLANE + shifts - NECK_IN_PLANE).max() < 0.05
    assert np.ptp(flat[:, 2]) > 1.9


def test_breath_stays_longest_where_it_is_out():
    trajectory = drawn("breathing", 5)
    along_body = poses_at(trajectory, SECONDS)[:, 5] / trajectory["amplitude"][5]
    assert 3 <= trajectory["period"] <= 5
    assert -1.001 < along_body.min() < -0.99
    assert -0.01 < along_body.max() <= 0
    later = poses_at(trajectory, SECONDS + trajectory["period"])[:, 5] / trajectory["amplitude"][5]
    assert np.allclose(along_body, later, atol=1e-9)
    assert (along_body > -0.5).mean() >= 0.499  # more than half of the time nearer to out


def test_a_random_walk_spreads_as_the_root_of_time():
    poses = np.stack([poses_at(drawn("walk", seed), SECONDS) for seed in range(200)])
    assert poses[:, -1].std() == pytest.approx(1, rel=0.1)
    assert poses[:, 1000].std() == pytest.approx(0.5, rel=0.1)
