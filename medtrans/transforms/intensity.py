"""Intensity rules: how a modality's window is found in a volume (fixed for CT and PET, percentiles for MR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medtrans.transforms.window import Window


def _finite(volume: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor | None) -> np.ndarray:
    """The finite values of ``volume``, inside ``mask`` where one is given and not empty."""
    values = np.asarray(volume)
    if mask is not None and np.any(chosen := np.asarray(mask) > 0):
        values = values[chosen]
    return values[np.isfinite(values)]


@dataclass(frozen=True)
class FixedWindow:
    """The same physical interval for every volume, as CT (HU) and PET (SUV) need."""

    lower: float
    upper: float
    unit: str = ""

    def __call__(self, volume: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor | None = None) -> Window:
        """The window; ``volume`` and ``mask`` are not looked at."""
        return Window(self.lower, self.upper, self.unit)


@dataclass(frozen=True)
class PercentileWindow:
    """From zero (no signal) to a high percentile of the body, volume by volume, as MR needs.

    Args:
        upper: percentile of the values inside the mask that maps to +1, in (0, 100].
        lower: percentile that maps to -1; None takes 0, the value of air in magnitude images.
        unit: physical unit, empty for arbitrary MR units.
    """

    upper: float = 99.5
    lower: float | None = None
    unit: str = ""

    def __call__(self, volume: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor | None = None) -> Window:
        """The window of one volume.

        Args:
            volume: values of any shape.
            mask: same shape, >0 inside the body; None or empty takes every voxel.

        Raises:
            ValueError: the volume has no finite value, or is constant.
        """
        values = _finite(volume, mask)
        if values.size == 0:
            raise ValueError("the volume has no finite value")
        upper = float(np.percentile(values, self.upper))
        lower = 0.0 if self.lower is None else float(np.percentile(values, self.lower))
        if not upper > lower:
            raise ValueError(
                f"the volume is constant or negative inside the mask (its window would be [{lower}, {upper}])"
            )
        return Window(lower, upper, self.unit)
