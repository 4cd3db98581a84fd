"""Intensity rules: how a modality's window is found in a volume (fixed for CT and PET, percentiles for MR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medtrans.transforms.body_mask import body_mask
from medtrans.transforms.window import Window


def _finite(volume: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor | None) -> np.ndarray:
    """The finite values of ``volume``, inside ``mask`` where one is given and not empty."""
    values = np.asarray(volume)
    if mask is not None and np.any(chosen := np.asarray(mask) > 0):
        values = values[chosen]
    return values[np.isfinite(values)]


def _body(volume: np.ndarray | torch.Tensor, kind: str) -> np.ndarray:
    """The body mask of a volume of shape ``([1, ]X, Y[, Z])``, where NaN counts as the lowest value."""
    values = np.asarray(volume)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    values = np.where(finite, values, values[finite].min())
    spatial = values[0] if values.ndim > 2 and values.shape[0] == 1 else values
    return body_mask(spatial, kind).reshape(values.shape)


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
        body: ``"CT"``, ``"MR"`` or ``"PET"``: when no mask is given, one is made by :func:`body_mask` for this kind, so
            that a new scan is scaled as the training scans were; None takes every voxel then.
    """

    upper: float = 99.5
    lower: float | None = None
    unit: str = ""
    body: str | None = None

    def __call__(self, volume: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor | None = None) -> Window:
        """The window of one volume.

        Args:
            volume: values of any shape.
            mask: same shape, >0 inside the body; None takes ``body``'s; empty takes every voxel.

        Raises:
            ValueError: the volume has no finite value, or is constant.
        """
        if mask is None and self.body is not None:
            mask = _body(volume, self.body)
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
