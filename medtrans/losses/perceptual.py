"""Perceptual losses: a network trained on other images sees the same in output and target (the review's L7)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medtrans.losses.feature_loss import FeatureLoss
from medtrans.networks.medical_features import MedicalFeatures


class Perceptual(FeatureLoss):
    """Σ_j λ_j mean|V_j(G(y)) − V_j(x)| over the layers j of any extractor (MedGAN eq. 6 with V in the place of D).

    With :class:`medtrans.networks.VGG19Features` this is VGG-19's perceptual loss (Johnson 2016 with L1, as in
    pix2pixHD, Wang 2018). :class:`Content` is its squared form.

    Args:
        features: extractor of feature maps.
        weight: factor in the generator's total.
        layers: λ_j; the default weighs deeper blocks more, as pix2pixHD does. None weighs all layers alike.
    """

    def __init__(
        self,
        features: nn.Module,
        weight: float = 1.0,
        layers: Sequence[float] | None = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1),
    ) -> None:
        super().__init__(features, weight, layers)

    def distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Mean absolute difference of the feature maps."""
        return (found - wanted).abs().mean()


class MedicalPerceptual(FeatureLoss):
    """mean_v ‖V̂(G(y))_v − V̂(x)_v‖²₂, V̂ the normalised features of a medical network: MONAI's PerceptualLoss.

    RadImageNet for slices (and volumes slice by slice), MedicalNet for volumes, see
    :class:`medtrans.networks.MedicalFeatures`. The target's features are computed once a batch. MONAI's own class
    normalises a batch of volumes together, this one each volume by itself; else the values are equal.

    Args:
        network: ``radimagenet_resnet50`` (2D), ``medicalnet_resnet10_23datasets`` or ``medicalnet_resnet50_23datasets``
            (3D).
        weight: factor in the generator's total.
        folder: torch hub folder with the network's code and weights; None is torch's own.
    """

    def __init__(self, network: str = "radimagenet_resnet50", weight: float = 1.0, folder: str | None = None) -> None:
        super().__init__(MedicalFeatures(network, folder), weight, (1.0,))

    def distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Squared distance of the feature vectors, the mean over positions and batch."""
        return (found - wanted).square().sum(1).mean()
