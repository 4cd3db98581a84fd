"""What losses on a network's feature maps share: each map compared once, weighted by layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class FeatureLoss(LossTerm, ABC):
    """A weighted sum of distances over the layers of a feature extractor.

    Args:
        features: extractor, image ``(B, C, *spatial)`` -> list of feature maps; several terms may share one.
        weight: factor in the generator's total.
        layers: a factor for each feature map; a 0 leaves it out. None: a 1 for each, however many there are.
    """

    def __init__(self, features: nn.Module, weight: float, layers: Sequence[float] | None) -> None:
        super().__init__(weight)
        self.extractor = features
        self.layers = None if layers is None else tuple(float(value) for value in layers)

    def prepare(self) -> None:
        """Load the extractor's weights, where it has any to load."""
        load = getattr(self.extractor, "load", None)
        if callable(load):
            load()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The weighted sum over layers, mean over the batch; 0 for identical images."""
        found, wanted = candidate.features(self.extractor), target.features(self.extractor)
        layers = (1.0,) * len(found) if self.layers is None else self.layers
        if len(found) != len(layers):
            raise ValueError(f"layers has {len(layers)} weights for {len(found)} feature maps")
        terms = [c * self.distance(f, w.detach()) for c, f, w in zip(layers, found, wanted, strict=True) if c]
        return torch.stack(terms).sum()

    @abstractmethod
    def distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Between the feature maps ``(B, d, *spatial)`` of one layer; a mean over the batch."""
