"""Errors voxel by voxel: in the images' own unit, and on the 0-255 scale of the MedGAN tables."""

from __future__ import annotations

import torch
from torch import Tensor

from medtrans.metrics.base import MapMetric, Masks


class MAE(MapMetric):
    """Mean absolute error in the target's unit, not clipped."""

    name, title, unit, higher_is_better, clips, order = "mae", "MAE", "target", False, False, 40
    definition = "Mean absolute difference, in the target's unit; values outside the window count in full."

    def quality_map(self, prediction: Tensor, reference: Tensor, width: float) -> Tensor:
        """|prediction − reference|."""
        return (prediction - reference).abs()


class MSE(MapMetric):
    """Mean squared error in the target's unit squared, not clipped."""

    name, title, unit, higher_is_better, clips, order = "mse", "MSE", "target²", False, False, 42
    definition = "Mean squared difference, in the target's unit squared; values outside the window count in full."

    def quality_map(self, prediction: Tensor, reference: Tensor, width: float) -> Tensor:
        """(prediction − reference)²."""
        return (prediction - reference) ** 2


class RMSE(MSE):
    """Root mean squared error in the target's unit, not clipped."""

    name, title, unit, order, by_default = "rmse", "RMSE", "target", 41, False
    definition = "Root of the mean squared difference, in the target's unit."

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """Root of the MSE in each mask."""
        return [torch.sqrt(value) for value in super().measure(prediction, reference, width, masks)]


class MSE255(MapMetric):
    """Mean squared error of images scaled to 0-255, as in the tables of MedGAN."""

    name, title, higher_is_better, order = "mse_255", "MSE (0–255)", False, 30
    definition = "Mean squared difference after the data range is scaled to 0–255 (the MSE of the MedGAN tables)."

    def quality_map(self, prediction: Tensor, reference: Tensor, width: float) -> Tensor:
        """(255 (prediction − reference) / width)²."""
        return ((prediction - reference) * (255.0 / width)) ** 2
