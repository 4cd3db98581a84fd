"""The pose that an image shows: the one in which the centre of k-space was measured.

The lines about the centre say where a head appears. A single sample does not: interleaved shots measure its neighbours
at quite other moments. With the pose of k = 0 as reference, images lie off the input by 1.4 mm on average at a severity
of 2 mm (benchmarks/mr_motion.py); with the mean pose of the centre, weighted by a Gaussian, by 0.4 mm. No reference is
known that leaves nothing: Reguig et al., Global displacement induced by rigid motion simulation during MRI acquisition,
arXiv 2204.03522, compare such means with registration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CENTRE = 1 / 40  # cycles a mm, the width (standard deviation) of the centre of k-space


def centre_weights(axes: Sequence[int], shape: Sequence[int], spacing: Sequence[float], slices: bool) -> np.ndarray:
    """How much each line counts for where the head appears.

    Args:
        axes: readout, phase, and for volumes slice or partition.
        shape: of the image, spatial.
        spacing: mm, one number a spatial axis.
        slices: whether slices are measured one by one.

    Returns:
        ``(1, lines)``, or ``(lines, partitions)`` of a 3D sequence; ordered from the most negative frequency.
    """
    of_axes = []
    for axis in axes[1:]:
        frequencies = np.fft.fftshift(np.fft.fftfreq(shape[axis], spacing[axis]))
        of_axes.append(np.exp(-np.square(frequencies / CENTRE) / 2))
    return of_axes[0][None] if slices else of_axes[0][:, None] * of_axes[1]


def reference_pose(poses: np.ndarray, weights: np.ndarray, own: bool = False) -> np.ndarray:
    """The mean pose of the centre of k-space.

    Args:
        poses: ``(slices, lines, 6)`` or ``(lines, partitions, 6)``.
        weights: from :func:`centre_weights`.
        own: of every slice by itself: ``(slices, 1, 6)``; otherwise one, ``(1, 1, 6)``.
    """
    weights = np.broadcast_to(weights, poses.shape[:-1])[..., None]
    over = (1,) if own else (0, 1)
    return (poses * weights).sum(over, keepdims=True) / weights.sum(over, keepdims=True)
