"""Pixel losses: how far the output's intensities are from the target's (the review's L2, image loss)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.averages import inside_body, weighted_mean
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class IntensityWeights:
    """How much a voxel counts, by the target's intensity there: bone more than soft tissue, air less, for instance.

    Args:
        edges: the limits between the ranges, increasing, in physical units (HU, SUV): ``[-200, 250]``.
        weights: one for each range, ≥ 0, the lowest first: ``[0.5, 1, 3]``.
        window: the physical values of -1 and 1, as in the data set's recipe: ``[-1024, 2000]`` (a unit may follow). The
            default gives edges on the scale of [-1, 1], which is all there is for MR.

    Raises:
        InputError: edges, weights and window do not fit together.
    """

    def __init__(self, edges: Sequence[float], weights: Sequence[float], window: Sequence[Any] = (-1.0, 1.0)) -> None:
        lower, upper = float(window[0]), float(window[1])
        if len(weights) != len(edges) + 1 or min(weights) < 0 or max(weights) <= 0 or not upper > lower:
            raise InputError(
                f"intensity weights {list(weights)} for edges {list(edges)} in window {list(window)}",
                "do not fit together",
                "Give one weight ≥ 0 more than edges, and a window [lower, upper]",
            )
        if list(edges) != sorted(set(edges)):
            raise InputError(f"intensity edges {list(edges)}", "do not increase", "Give them from the lowest up")
        self.edges = [(float(edge) - lower) * 2 / (upper - lower) - 1 for edge in edges]
        self.weights = [float(weight) for weight in weights]

    def __call__(self, target: Tensor) -> Tensor:
        """The weight of every voxel of ``target``, in [-1, 1]; a value on an edge belongs to the range above it."""
        ranges = torch.bucketize(target, target.new_tensor(self.edges), right=True)
        return target.new_tensor(self.weights)[ranges]


class _PixelLoss(LossTerm):
    """A mean over voxels of some function of the difference, masked and weighted by intensity where wanted."""

    def __init__(
        self, weight: float = 1.0, masked: bool = False, intensity_weights: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(weight)
        self.masked = masked
        self.intensity_weights = None if intensity_weights is None else IntensityWeights(**intensity_weights)

    def penalty(self, difference: Tensor) -> Tensor:
        """What one voxel costs."""
        raise NotImplementedError

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """A mean over the voxels that count, see the class."""
        cost = self.penalty(candidate.image - target.image)
        return weighted_mean(cost, self._voxel_weights(target))

    def _voxel_weights(self, target: Observed) -> Tensor | None:
        inside = inside_body(target.mask, target.image, type(self).__name__) if self.masked else None
        if self.intensity_weights is None:
            return inside
        by_intensity = self.intensity_weights(target.image)
        return by_intensity if inside is None else by_intensity * inside


class L1(_PixelLoss):
    """Σ_v w_v |G(y)_v − x_v| / Σ_v w_v: the mean absolute difference (pix2pix sec. 3.1, λ = 100).

    Args:
        weight: factor in the generator's total.
        masked: w_v = 0 outside the body mask; the whole image counts alike otherwise.
        intensity_weights: w_v by the target's intensity, the arguments of :class:`IntensityWeights` as a dictionary;
            multiplied with the mask where both are given.
    """

    def penalty(self, difference: Tensor) -> Tensor:
        """|d|, in units of the [-1, 1] scale."""
        return difference.abs()


class L2(_PixelLoss):
    """Σ_v w_v (G(y)_v − x_v)² / Σ_v w_v: the mean squared difference (context encoders, Pathak 2016; ID-CGAN).

    Args:
        weight: factor in the generator's total.
        masked: as in :class:`L1`.
        intensity_weights: as in :class:`L1`.
    """

    def penalty(self, difference: Tensor) -> Tensor:
        """d², in squared units of the [-1, 1] scale."""
        return difference.square()


class Charbonnier(_PixelLoss):
    """Σ_v w_v √((G(y)_v − x_v)² + ε²) / Σ_v w_v: as L2 for differences below ε, as L1 above (Charbonnier 1994).

    It is ε, not 0, for identical images.

    Args:
        weight: factor in the generator's total.
        masked: as in :class:`L1`.
        intensity_weights: as in :class:`L1`.
        epsilon: ε > 0, on the scale of [-1, 1].

    Raises:
        InputError: ``epsilon`` is not positive; the gradient of identical images would not be defined.
    """

    def __init__(
        self,
        weight: float = 1.0,
        masked: bool = False,
        intensity_weights: Mapping[str, Any] | None = None,
        epsilon: float = 1e-3,
    ) -> None:
        super().__init__(weight, masked, intensity_weights)
        if not epsilon > 0:
            raise InputError(f"Charbonnier epsilon {epsilon}", "is not positive", "Use for example 0.001")
        self.epsilon = float(epsilon)

    def penalty(self, difference: Tensor) -> Tensor:
        """√(d² + ε²), in units of the [-1, 1] scale."""
        return (difference.square() + self.epsilon**2).sqrt()
