"""Style and content losses: textures and structures as a pretrained network sees them agree with the target's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medtrans.losses.feature_loss import FeatureLoss


def gram_matrix(features: Tensor) -> Tensor:
    """Correlations of feature maps over space, ``(B, d, h, w)`` -> ``(B, d, d)``, divided by h·w·d (MedGAN eq. 9)."""
    flat = features.flatten(2)
    with torch.autocast(features.device.type, enabled=False):  # sums over thousands of positions need float32
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


class Style(FeatureLoss):
    """Σ_j λ_j /(4 d_j²) ‖Gr_j(G(y)) − Gr_j(x)‖²_F (MedGAN eq. 9-10).

    Args:
        features: extractor of feature maps, for instance :class:`medtrans.networks.VGG19Features`.
        weight: factor in the generator's total (λ₂ = 1e-4 in the paper).
        layers: λ_j; the paper takes the first and the last block. None weighs all layers alike.
    """

    def __init__(
        self, features: nn.Module, weight: float = 1.0, layers: Sequence[float] | None = (1, 0, 0, 0, 1)
    ) -> None:
        super().__init__(features, weight, layers)

    def distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Squared Frobenius distance of the Gram matrices over 4 d²."""
        difference = gram_matrix(found) - gram_matrix(wanted)
        return difference.square().sum(dim=(1, 2)).mean() / (4 * found.shape[1] ** 2)


class Content(FeatureLoss):
    """Σ_j λ_j /(h_j w_j d_j) ‖V_j(G(y)) − V_j(x)‖²_F (MedGAN eq. 11).

    Args:
        features: extractor of feature maps, for instance :class:`medtrans.networks.VGG19Features`.
        weight: factor in the generator's total (λ₃ = 1e-4 in the paper).
        layers: λ_j; the paper takes every block but the deepest. None weighs all layers alike.
    """

    def __init__(
        self, features: nn.Module, weight: float = 1.0, layers: Sequence[float] | None = (1, 1, 1, 1, 0)
    ) -> None:
        super().__init__(features, weight, layers)

    def distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Mean squared difference of the feature maps."""
        return (found - wanted).square().mean()
