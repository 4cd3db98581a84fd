"""Poses against matrices written out, and displacements against points of a ball."""

from __future__ import annotations

import numpy as np
import pytest

from medtrans.simulate.mr.poses import displacement, seen_from, turns_and_shifts


def test_a_pose_turns_about_x_then_y_then_z_by_the_right_hand():
    turns, shifts = turns_and_shifts(np.array([[90.0, 0, 0, 1, 2, 3], [0, 0, 90, 0, 0, 0], [90, 0, 90, 0, 0, 0]]))
    assert np.allclose(turns[0] @ [0, 1, 0], [0, 0, 1])  # front to top
    assert np.allclose(turns[1] @ [1, 0, 0], [0, 1, 0])  # right to front
    assert np.allclose(turns[2], turns[1] @ turns[0])
    assert shifts[0].tolist() == [1, 2, 3]


def test_seen_from_a_pose_is_what_takes_each_point_from_there():
    random = np.random.default_rng(0)
    pose, reference, point = random.normal(0, 10, (5, 6)), random.normal(0, 10, 6), random.normal(0, 50, 3)
    turns, shifts = seen_from(pose, reference)
    there, shift = turns_and_shifts(reference)
    now, shifts_now = turns_and_shifts(pose)
    assert np.allclose(turns @ (there @ point + shift) + shifts, now @ point + shifts_now)


def test_a_pose_seen_from_itself_does_not_move():
    pose = np.random.default_rng(1).normal(0, 20, (7, 6))
    turns, shifts = seen_from(pose, pose)
    assert np.abs(turns - np.eye(3)).max() < 1e-12
    assert np.abs(shifts).max() < 1e-12


def test_displacement_is_the_root_mean_square_over_the_points_of_a_ball():
    pose = np.array([4.0, -7, 11, 1.5, -2, 0.5])
    turn, shift = turns_and_shifts(pose)
    random = np.random.default_rng(2)
    points = random.uniform(-80, 80, (400_000, 3))
    points = points[np.linalg.norm(points, axis=1) <= 80]
    moved = points @ turn.T + shift - points
    assert displacement(turn, shift) == pytest.approx(np.sqrt(np.square(moved).sum(1).mean()), rel=5e-3)
