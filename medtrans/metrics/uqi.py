"""The universal quality index (Wang and Bovik 2002)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medtrans.metrics.base import MapMetric
from medtrans.metrics.ssim import too_small
from medtrans.metrics.windows import filtered, uniform

SIZE = 8
FLAT = 1e-6  # a window is flat when the two variances sum to less than this share of the squared data range


class UQI(MapMetric):
    """Universal quality index: sliding flat windows of 8 voxels per axis, as in the paper; from -1 to 1.

    Where both images are flat the index is 0/0; as in the authors' code it is then the luminance term, or 1 where
    that is 0/0 too (background). Several libraries differ: a Gaussian window, or another rule for flat windows.
    """

    name, title, higher_is_better, order = "uqi", "UQI", True, 60
    definition = (
        "Universal quality index (Wang & Bovik 2002): sliding flat window of 8 voxels per axis, images clipped to "
        "the data range and measured from its lower end; flat windows count with their luminance term."
    )

    def quality_map(self, prediction: Tensor, reference: Tensor, width: float) -> Tensor:
        """The index at every position where the window fits."""
        window, tolerance = uniform(SIZE), FLAT * width**2
        mean_x, mean_y = filtered(prediction, window), filtered(reference, window)
        product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
        covariance = filtered(prediction * reference, window) - product
        variances = filtered(prediction**2 + reference**2, window) - squares
        flat, dark = variances <= tolerance, squares <= tolerance
        luminance = torch.where(dark, 1.0, 2 * product / squares.clamp(min=tolerance))
        full = 4 * covariance * product / (variances * squares).clamp(min=torch.finfo(squares.dtype).tiny)
        return torch.where(flat, luminance, torch.where(squares > 0, full, 1.0))

    def refuses(self, shape: Sequence[int]) -> str | None:
        """Images smaller than the window."""
        return too_small(shape, SIZE)
