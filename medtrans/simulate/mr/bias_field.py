"""Shading of an MR image by the coils: a smooth multiplicative field."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits
from medtrans.simulate.mr.smooth_field import smooth_field


class BiasField(Degradation):
    """The image times a smooth field with mean 1; :meth:`undo` takes it back.

    The field is a Gaussian random field in millimetres (:func:`~medtrans.simulate.mr.smooth_field.smooth_field`). Its
    strength is told as BrainWeb tells it: 20 % are a range like 0.90 to 1.10.

    Args:
        strength_percent: between the field's smallest and largest value over the image, in % of its mean, below 100.
        length: correlation length in mm.

    Raises:
        ValueError: a strength is not from 0 to below 100, or a length not above 0.
    """

    def __init__(self, strength_percent: Range = (20.0, 60.0), length: Range = (60.0, 120.0)) -> None:
        weakest, strongest = limits(strength_percent)
        if not 0 <= weakest <= strongest < 100:
            raise ValueError(f"strength_percent is from 0 to below 100, got {strength_percent}")
        if limits(length)[0] <= 0:
            raise ValueError(f"length is above 0 mm, got {length}")
        self.strength_percent, self.length = strength_percent, length

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """Strength, length scale and seed of a field."""
        return {
            "strength_percent": self.between(self.strength_percent),
            "length": self.between(self.length),
            "seed": self.new_seed(),
        }

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The image times the field."""
        return img * self.field(img.shape, parameters, spacing, img.device)

    def undo(self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float]) -> torch.Tensor:
        """The image divided by the field."""
        return img / self.field(img.shape, parameters, spacing, img.device)

    @staticmethod
    def field(
        shape: Sequence[int], parameters: Parameters, spacing: Sequence[float], device: torch.device
    ) -> torch.Tensor:
        """The field for an image of ``shape`` ``(C, X, Y[, Z])``: float32 ``(X, Y[, Z])`` with mean 1."""
        field = smooth_field(shape[1:], spacing, parameters["length"], [parameters["seed"]], device)
        return 1 + parameters["strength_percent"] / 100 * field


class BiasFieldd(Degradationd):
    """:class:`BiasField` on entries of an item; settings are its own."""

    array_form = BiasField
