"""Gibbs ringing: k-space ends at the acquired resolution, and the image is interpolated beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits
from medtrans.simulate.mr.kspace import along, to_image, to_kspace


class GibbsRinging(Degradation):
    """The magnitude of an image of which only the low frequencies were acquired (zero filling, without a filter).

    Along each axis frequencies up to 1 / (2 resolution) are kept, both ends alike. An edge overshoots by 8.95 % of its
    step and rings with a period of two acquired voxels.

    Args:
        resolution: acquired voxel size in mm; an axis whose voxels are no smaller is left as it is. None: ``coarser``.
        coarser: acquired voxel size in voxels of the image, 1 or more; of use where images of all sizes are degraded.
        axes: those along which k-space is cut; None: all.

    Raises:
        ValueError: ``resolution`` is not above 0, ``coarser`` below 1, or an axis none of 0, 1 and 2.
    """

    def __init__(
        self, resolution: Range | None = None, coarser: Range = (1.5, 3.0), axes: Sequence[int] | None = None
    ) -> None:
        if resolution is not None and limits(resolution)[0] <= 0:
            raise ValueError(f"resolution is above 0 mm, got {resolution}")
        if limits(coarser)[0] < 1:
            raise ValueError(f"coarser is 1 voxel or more, got {coarser}")
        if axes is not None and not {*axes} <= {0, 1, 2}:
            raise ValueError(f"axes are some of 0, 1 and 2, got {axes}")
        self.resolution, self.coarser, self.axes = resolution, coarser, axes

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """Acquired voxel size along each axis in mm."""
        cut = range(len(spacing)) if self.axes is None else self.axes
        if self.resolution is not None:
            acquired = [self.between(self.resolution)] * len(spacing)
        else:
            factor = self.between(self.coarser)
            acquired = [factor * step for step in spacing]
        return {"resolution": [acquired[axis] if axis in cut else step for axis, step in enumerate(spacing)]}

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The magnitude of what the kept frequencies give."""
        result = img.to(torch.complex64)
        for axis, (acquired, step) in enumerate(zip(parameters["resolution"], spacing, strict=True), 1):
            if acquired > step * (1 + 1e-6):
                frequency = torch.fft.fftfreq(img.shape[axis], step, dtype=torch.float64)
                kept = frequency.abs() <= (1 + 1e-6) / (2 * acquired)
                kept_here = along(kept.float(), axis, img.ndim).to(img.device)
                result = to_image(to_kspace(result, [axis]) * kept_here, [axis])
        return result.abs()


class GibbsRingingd(Degradationd):
    """:class:`GibbsRinging` on entries of an item; settings are its own."""

    array_form = GibbsRinging
