"""How a head moves during a scan: kinds of trajectories, drawn, evaluated at any second, scaled, recorded as JSON.

A trajectory is a dictionary. Those that swing (``nodding``, ``tilting``, ``breathing``) and ``drift`` say an
``amplitude``, one number a pose parameter, and the timing of their wave; ``steps``, ``walk`` and a user's ``table`` say
``seconds`` and ``poses`` at them. So a record is small and gives every pose again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medtrans.simulate.mr.poses import IN_PLANE

Trajectory = dict[str, Any]
NECK = np.array([0.0, -20.0, -90.0])  # mm, the joint on which the head nods and tilts, from the centre of the brain
NECK_IN_PLANE = np.array([0.0, -90.0, 0.0])
WALK_STEPS = 48  # knots of a random walk, and straight lines between them


def draw_trajectory(kind: str, random: np.random.RandomState, duration: float, planar: bool = False) -> Trajectory:
    """A trajectory of a kind, with amplitudes about 1 degree and 1 mm.

    Args:
        kind: one of :data:`KINDS`.
        random: draws.
        duration: of the scan, s.
        planar: only what happens within a slice: rz, tx and ty; nodding and tilting then turn about its normal.
    """
    trajectory = {"kind": kind, **KINDS[kind](random, duration, planar)}
    if planar:
        for entry in ("amplitude", "poses"):
            if entry in trajectory:
                trajectory[entry] = in_plane(np.array(trajectory[entry])).tolist()
    return trajectory


def poses_at(trajectory: Trajectory, seconds: np.ndarray) -> np.ndarray:
    """The poses ``(..., 6)`` at ``seconds`` since the scan began."""
    if "poses" in trajectory:
        knots, poses = np.array(trajectory["seconds"]), np.array(trajectory["poses"])
        if trajectory["kind"] == "steps":
            return poses[np.searchsorted(knots, seconds, side="right") - 1]
        return np.stack([np.interp(seconds, knots, poses[:, number]) for number in range(6)], -1)
    return WAVES[trajectory["kind"]](trajectory, seconds)[..., None] * np.array(trajectory["amplitude"])


def scaled(trajectory: Trajectory, factor: float) -> Trajectory:
    """The same movement, ``factor`` times as large."""
    entry = "poses" if "poses" in trajectory else "amplitude"
    return {**trajectory, entry: (np.array(trajectory[entry]) * factor).tolist()}


def in_plane(poses: np.ndarray) -> np.ndarray:
    """Poses ``(..., 6)`` without what leads out of an axial plane."""
    flat = np.zeros_like(poses)
    flat[..., IN_PLANE] = poses[..., IN_PLANE]
    return flat


def _about_neck(turn: np.ndarray, planar: bool) -> list[float]:
    """A small turn (degrees about x, y, z) on the neck, with the shift of the centre that comes with it."""
    pivot = NECK_IN_PLANE if planar else NECK
    return [*turn.tolist(), *(-np.cross(np.radians(turn), pivot)).tolist()]


def _draw_steps(random: np.random.RandomState, duration: float, planar: bool) -> Trajectory:
    """One to four sudden movements, each to another pose, and rest between them."""
    moments = np.sort(random.uniform(0.1, 0.9, random.randint(1, 5))) * duration
    poses = np.cumsum(random.normal(size=(len(moments), 6)), axis=0)
    return {"seconds": [0.0, *moments.tolist()], "poses": [[0.0] * 6, *poses.tolist()]}


def _draw_drift(random: np.random.RandomState, duration: float, planar: bool) -> Trajectory:
    """Slowly from one pose to another, faster at first or towards the end."""
    return {
        "amplitude": random.normal(size=6).tolist(),
        "duration": duration,
        "exponent": float(random.uniform(0.5, 2.0)),
    }


def _draw_nodding(random: np.random.RandomState, duration: float, planar: bool) -> Trajectory:
    """To and fro about the axis from ear to ear, every 3 to 10 s, with a little of the other axes."""
    turn = random.normal(0, 0.1, 3)
    turn[2 if planar else 0] += 1
    return _swing(_about_neck(turn, planar), random, 3, 10)


def _draw_tilting(random: np.random.RandomState, duration: float, planar: bool) -> Trajectory:
    """Towards one shoulder and the other, every 20 to 90 s, with some turning to the side."""
    turn = np.array([random.normal(0, 0.1), 1.0, random.normal(0, 0.4)])
    if planar:
        turn = np.array([0.0, 0.0, 1.0])
    return _swing(_about_neck(turn, planar), random, 20, 90)


def _draw_breathing(random: np.random.RandomState, duration: float, planar: bool) -> Trajectory:
    """With the chest, every 3 to 5 s: along the body, a little to the front, a slight nod."""
    amplitude = [random.uniform(0.1, 0.5), 0, 0, 0, random.uniform(0.2, 0.6), random.uniform(0.6, 1.0)]
    if planar:
        amplitude = [0, 0, random.uniform(0.1, 0.5), 0, random.uniform(0.6, 1.0), 0]
    return {**_swing(amplitude, random, 3, 5), "exponent": 2 * int(random.randint(1, 4))}


def _draw_walk(random: np.random.RandomState, duration: float, planar: bool) -> Trajectory:
    """A random walk in all six parameters."""
    walk = np.cumsum(random.normal(size=(WALK_STEPS, 6)), axis=0) / np.sqrt(WALK_STEPS)
    seconds = np.linspace(0, duration, WALK_STEPS + 1)
    return {"seconds": seconds.tolist(), "poses": [[0.0] * 6, *walk.tolist()]}


def _swing(amplitude: list[float], random: np.random.RandomState, shortest: float, longest: float) -> Trajectory:
    """A wave of an amplitude, its period (s) and where in it the scan begins (radians)."""
    period, phase = random.uniform(shortest, longest), random.uniform(0, 2 * np.pi)
    return {"amplitude": [float(a) for a in amplitude], "period": float(period), "phase": float(phase)}


def _sine(trajectory: Trajectory, seconds: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * seconds / trajectory["period"] + trajectory["phase"])


def _breath(trajectory: Trajectory, seconds: np.ndarray) -> np.ndarray:
    """0 breathed out, where it stays longest, to -1 (Lujan et al., Medical Physics 26:715, 1999)."""
    return -(np.cos(np.pi * seconds / trajectory["period"] + trajectory["phase"]) ** trajectory["exponent"])


def _rise(trajectory: Trajectory, seconds: np.ndarray) -> np.ndarray:
    return (np.clip(seconds, 0, None) / trajectory["duration"]) ** trajectory["exponent"]


#: kind -> what draws its shape
KINDS: dict[str, Callable[[np.random.RandomState, float, bool], Trajectory]] = {
    "steps": _draw_steps,
    "drift": _draw_drift,
    "nodding": _draw_nodding,
    "tilting": _draw_tilting,
    "breathing": _draw_breathing,
    "walk": _draw_walk,
}
#: kind -> its course over time, between -1 and 1
WAVES: dict[str, Callable[[Trajectory, np.ndarray], np.ndarray]] = {
    "drift": _rise,
    "nodding": _sine,
    "tilting": _sine,
    "breathing": _breath,
}
