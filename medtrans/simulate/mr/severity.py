"""How severe a movement is: the head's mean displacement during the scan, and a trajectory scaled to have it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from medtrans.simulate.mr.poses import displacement, seen_from
from medtrans.simulate.mr.reference import reference_pose
from medtrans.simulate.mr.trajectories import Trajectory, poses_at, scaled


def mean_displacement(trajectory: Trajectory, seconds: np.ndarray, weights: np.ndarray, own: bool = False) -> float:
    """Displacement of the head in mm from its reference pose, mean over all that is measured.

    Args:
        trajectory: of the head.
        seconds: when everything is measured, ``(slices, lines)`` or ``(lines, partitions)``.
        weights: what makes the reference (:func:`~medtrans.simulate.mr.reference.centre_weights`).
        own: every slice has a reference of its own (:func:`~medtrans.simulate.mr.reference.reference_pose`).
    """
    poses = poses_at(trajectory, seconds)
    return float(displacement(*seen_from(poses, reference_pose(poses, weights, own))).mean())


def of_severity(
    trajectory: Trajectory, seconds: np.ndarray, weights: np.ndarray, severity: float, own: bool = False
) -> Trajectory:
    """The trajectory scaled so that its mean displacement (:func:`mean_displacement`) is ``severity`` mm.

    Raises:
        ValueError: it does not move, or turns alone do not displace the head so far.
    """
    if severity == 0:
        return scaled(trajectory, 0.0)

    def excess(factor: float) -> float:
        return mean_displacement(scaled(trajectory, factor), seconds, weights, own) - severity

    factor = severity / max(mean_displacement(trajectory, seconds, weights, own), 1e-6)
    for _ in range(6):  # turns displace less than in proportion
        if excess(factor) >= 0:
            return scaled(trajectory, brentq(excess, 0.0, factor, xtol=1e-12, rtol=1e-12))
        factor *= 1.5
    raise ValueError(f"the trajectory ({trajectory['kind']}) cannot displace the head by {severity:g} mm on average")
