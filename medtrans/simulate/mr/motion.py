"""Rigid head motion during an MR scan, from clean magnitude images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits
from medtrans.simulate.mr.acquisition import SEQUENCES, Partitions, Slices, sequence_from, sequence_record
from medtrans.simulate.mr.poses import seen_from
from medtrans.simulate.mr.reference import centre_weights, reference_pose
from medtrans.simulate.mr.regridding import moving_kspace
from medtrans.simulate.mr.severity import mean_displacement, of_severity
from medtrans.simulate.mr.slice_motion import moving_slices_kspace
from medtrans.simulate.mr.trajectories import KINDS, Trajectory, draw_trajectory, in_plane, poses_at
from medtrans.simulate.mr.trajectory_table import over_scan, read_table

SEVERITY = (0.5, 4.0)  # mm
BEYOND = 16.0  # mm that the head goes on beyond both ends of the readout, fading: no wrap, and no edge to ring
THICK = 1.8  # a volume whose voxels are this many times as long as wide was measured in slices
LEAST_MOTION = 0.1  # mm in a draw of about 1 mm: a shape that the lines happen to miss is drawn again
REFERENCES = ("slice", "volume")


class MRMotion(Degradation):
    """Ghosts and blur of a head that moves during the scan.

    Every line of k-space is that of the head in the pose it has when the line is measured; the magnitude of what comes
    out is returned, on the scale of the input. The pose in which the centre of k-space is measured is the reference
    (:mod:`~medtrans.simulate.mr.reference`): there the head lies as in the input, so that both are aligned.

    A 2D image is one slice that the head does not leave (rz, tx, ty). A volume is measured in 3D, or, if its voxels are
    long along one axis, in slices along it, which the head moves through.

    Args:
        severity: mean displacement of the head in mm from ``reference``, over all that is measured and a ball of 80 mm
            radius (:func:`~medtrans.simulate.mr.poses.displacement`); the trajectory is scaled to have exactly this.
            None: 0.5 to 4 mm, and a ``table`` as it was measured.
        kinds: of :data:`~medtrans.simulate.mr.trajectories.KINDS`; one is drawn for each image. None: all.
        table: a measured trajectory in place of ``kinds``, a CSV file or an array
            (:func:`~medtrans.simulate.mr.trajectory_table.read_table`).
        sequence: a name of :data:`~medtrans.simulate.mr.acquisition.SEQUENCES`, a
            :class:`~medtrans.simulate.mr.acquisition.Slices` or :class:`~medtrans.simulate.mr.acquisition.Partitions`.
            None: for slices turbo spin echo or spin echo, drawn; MP-RAGE for volumes.
        axes: readout, phase, and for volumes the axis of slices or partitions. None: for 2D (1, 0), for 3D (2, 1, 0);
            for slices their axis is the one of the longest voxels, the readout the last of the others.
        reference: in multi-slice volumes, ``slice``: each slice has the centre of its own k-space as reference, and
            stays aligned with the input; ``volume``: all have the mean of these, and lie where the head was when they
            were measured.

    Raises:
        ValueError: the severity is negative, or a kind, a sequence, axes or reference is unknown.
        InputError: the table cannot be used.
    """

    def __init__(
        self,
        severity: Range | None = None,
        kinds: str | Sequence[str] | None = None,
        table: str | os.PathLike[str] | Any | None = None,
        sequence: str | Slices | Partitions | None = None,
        axes: Sequence[int] | None = None,
        reference: str = "slice",
    ) -> None:
        self.table = None if table is None else read_table(table)
        self.severity = SEVERITY if severity is None and table is None else severity
        if self.severity is not None and limits(self.severity)[0] < 0:
            raise ValueError(f"severity is a displacement in mm, 0 or more, got {severity}")
        self.kinds = tuple(KINDS) if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if unknown := [kind for kind in self.kinds if kind not in KINDS] or (not self.kinds and ["nothing"]):
            raise ValueError(f"kinds are {', '.join(KINDS)}, got {', '.join(unknown)}")
        if isinstance(sequence, str) and sequence not in SEQUENCES:
            raise ValueError(f"sequence is one of {', '.join(SEQUENCES)}, or Slices or Partitions, got {sequence!r}")
        self.sequence = SEQUENCES[sequence] if isinstance(sequence, str) else sequence
        if axes is not None and sorted(axes) not in ([0, 1], [0, 1, 2]):
            raise ValueError(f"axes are (readout, phase[, slice or partition]), each once, got {tuple(axes)}")
        self.axes = axes
        if reference not in REFERENCES:
            raise ValueError(f"reference is one of {', '.join(REFERENCES)}, got {reference!r}")
        self.reference = reference

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """A sequence and a trajectory of the severity drawn."""
        sequence = self._draw_sequence(spacing)
        axes = self._axes(sequence, spacing)
        seconds = measured_at(sequence, axes, shape[1:])
        severity = None if self.severity is None else self.between(self.severity)
        weights = centre_weights(axes, shape[1:], spacing, isinstance(sequence, Slices))
        own = _own_references(sequence, self.reference)
        trajectory = self._draw_trajectory(seconds, weights, len(shape) == 3, own)
        if severity is not None:
            trajectory = of_severity(trajectory, seconds, weights, severity, own)
        return {
            "severity_mm": mean_displacement(trajectory, seconds, weights, own),
            "trajectory": trajectory,
            "sequence": sequence_record(sequence),
            "axes": list(axes),
            "reference": self.reference,
            "scan_seconds": float(seconds.max() - seconds.min()),
        }

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The magnitude image; computed on the CPU."""
        sequence, axes = sequence_from(parameters["sequence"]), parameters["axes"]
        seconds = measured_at(sequence, axes, img.shape[1:])
        poses = poses_at(parameters["trajectory"], seconds)
        slices = isinstance(sequence, Slices)
        weights = centre_weights(axes, img.shape[1:], spacing, slices)
        own = _own_references(sequence, parameters["reference"])
        turns, shifts = seen_from(poses, reference_pose(poses, weights, own))
        padded, margin = _beyond_readout(img.cpu(), axes[0], spacing[axes[0]])
        unshifted = 1 if slices else (0, 1)
        turns, shifts = np.fft.ifftshift(turns, unshifted), np.fft.ifftshift(shifts, unshifted)
        if slices and len(axes) == 3:
            kspace = moving_slices_kspace(padded, spacing, turns, shifts, axes)
            transformed: Sequence[int] = axes[:2]
        else:
            kspace = moving_kspace(padded, spacing, *_on_grid(turns, shifts, axes), readout=axes[0])
            transformed = axes
        image = torch.fft.ifftn(kspace, dim=[1 + axis for axis in transformed]).abs()
        return image.narrow(1 + axes[0], margin, img.shape[1 + axes[0]]).contiguous().to(img.device)

    def _draw_sequence(self, spacing: Sequence[float]) -> Slices | Partitions:
        """The sequence, as the image's voxels say where nobody else does."""
        if self.sequence is not None:
            if len(spacing) == 2 and isinstance(self.sequence, Partitions):
                raise ValueError("a sequence of partitions needs a volume; give a 2D image one of slices")
            return self.sequence
        if len(spacing) == 2 or max(spacing) >= THICK * min(spacing):
            return SEQUENCES[("turbo_spin_echo", "spin_echo")[self.R.randint(2)]]
        return SEQUENCES["mp_rage"]

    def _axes(self, sequence: Slices | Partitions, spacing: Sequence[float]) -> tuple[int, ...]:
        """Readout, phase, and slice or partition."""
        if self.axes is not None:
            if len(self.axes) != len(spacing):
                raise ValueError(f"axes {tuple(self.axes)} do not fit an image of {len(spacing)} axes")
            return tuple(self.axes)
        if len(spacing) == 2:
            return (1, 0)
        if isinstance(sequence, Partitions):
            return (2, 1, 0)
        across = 2 if max(spacing) < THICK * min(spacing) else int(np.argmax(spacing))
        phase, readout = (axis for axis in range(3) if axis != across)
        return (readout, phase, across)

    def _draw_trajectory(self, seconds: np.ndarray, weights: np.ndarray, planar: bool, own: bool) -> Trajectory:
        """One that moves during the scan, of any size."""
        duration = float(seconds.max())
        if self.table is not None:
            table = over_scan(self.table, duration)
            return {**table, "poses": in_plane(np.array(table["poses"])).tolist()} if planar else table
        kind = self.kinds[self.R.randint(len(self.kinds))]
        for _ in range(50):
            trajectory = draw_trajectory(kind, self.R, duration, planar)
            if mean_displacement(trajectory, seconds, weights, own) > LEAST_MOTION:
                break
        return trajectory


class MRMotiond(Degradationd):
    """:class:`MRMotion` on entries of an item; settings are its own."""

    array_form = MRMotion


def measured_at(sequence: Slices | Partitions, axes: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """When everything is measured, in s: ``(1, lines)`` of an image, ``(slices, lines)`` or ``(lines, partitions)``."""
    if len(axes) == 2 and isinstance(sequence, Slices):
        return sequence.seconds(shape[axes[1]])
    if isinstance(sequence, Slices):
        return sequence.seconds(shape[axes[1]], shape[axes[2]])
    return sequence.seconds(shape[axes[1]], shape[axes[2]])


def _own_references(sequence: Slices | Partitions, reference: str) -> bool:
    """Whether every slice has a reference pose of its own; the slice that a 2D image is has but one."""
    return isinstance(sequence, Slices) and reference == "slice"


def _on_grid(turns: np.ndarray, shifts: np.ndarray, axes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Turns and shifts with an axis for each of the image's, of size 1 along the readout."""
    rank = len(axes)
    if rank == 3:
        turns, shifts = turns[None], shifts[None]
    order = [int(place) for place in np.argsort(axes)]
    turns, shifts = turns[..., :rank, :rank], shifts[..., :rank]
    return turns.transpose(*order, rank, rank + 1), shifts.transpose(*order, rank)


def _beyond_readout(images: torch.Tensor, readout: int, step: float) -> tuple[torch.Tensor, int]:
    """The images with what lies beyond both ends of the readout, and how many voxels that is at each end.

    Receivers cut the readout off without wrapping, and the neck goes on below the field of view: the outermost plane is
    repeated, fading.
    """
    margin = int(np.ceil(BEYOND / step))
    axis = 1 + readout
    fading = torch.cos(torch.linspace(0, torch.pi / 2, margin + 2)[1:-1]) ** 2
    fading = fading.reshape([-1 if at == axis else 1 for at in range(images.ndim)])
    first, last = images.narrow(axis, 0, 1), images.narrow(axis, -1, 1)
    return torch.cat([first * fading.flip(axis), images, last * fading], axis), margin
