"""Poses of a rigid head: six parameters, how one pose looks from another, how far the head is displaced.

A pose is ``(rx, ry, rz, tx, ty, tz)``: degrees about and millimetres along x (right), y (front) and z (top), by the
right hand. A point of the head at x, in mm from the centre of the field of view, lies at R x + t, with R = Rz Ry Rx.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

HEAD_RADIUS = 80.0  # mm, as in Jenkinson's report
IN_PLANE = (2, 3, 4)  # the parameters of a pose that a single slice can follow: rz, tx, ty


def turns_and_shifts(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation matrices ``(..., 3, 3)`` and translations ``(..., 3)`` in mm of poses ``(..., 6)``."""
    flat = poses.reshape(-1, 6)
    turns = Rotation.from_euler("xyz", flat[:, :3], degrees=True).as_matrix()
    return turns.reshape(*poses.shape[:-1], 3, 3), poses[..., 3:]


def seen_from(poses: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What takes the head from the reference pose to each pose.

    Args:
        poses: ``(..., 6)``.
        reference: ``(..., 6)`` that goes with them by broadcasting.

    Returns:
        Rotation matrices ``(..., 3, 3)`` and translations ``(..., 3)`` in mm.
    """
    turns, shifts = turns_and_shifts(poses)
    before, shift_before = turns_and_shifts(reference)
    relative = turns @ np.swapaxes(before, -1, -2)
    return relative, shifts - (relative @ shift_before[..., None])[..., 0]


def displacement(turns: np.ndarray, shifts: np.ndarray, radius: float = HEAD_RADIUS) -> np.ndarray:
    """How far the points of a ball about the centre are displaced, in mm: root of the mean square over the ball.

    E = sqrt(r^2 / 5 * trace(M^T M) + |t|^2) with M = R - 1.

    Source: Jenkinson, Measuring transformation error by RMS deviation, FMRIB technical report TR99MJ1, 1999.
    """
    of_turn = np.square(turns - np.eye(3)).sum((-2, -1))  # trace(M^T M)
    return np.sqrt(radius**2 / 5 * of_turn + np.square(shifts).sum(-1))
