"""The discriminator's own features of output and target agree: MedGAN's perceptual loss, and PAN's with its margin."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class DiscriminatorPerceptual(LossTerm):
    """Σ_i λ_i P_i, P_i = mean|D_i(G(y), y) − D_i(x, y)|, with D_0 the image itself (MedGAN eq. 6-7).

    The discriminator is frozen while the generator is updated: gradients reach the generator only.

    With a ``margin`` m the discriminator minimises [m − w Σ_i λ_i P_i]₊ too, w the weight: it looks for differences
    until they cost the generator m (PAN, Wang 2018). The image itself is usually left out there (λ_0 = 0).

    Args:
        weight: factor in the generator's total (λ₁ = 20 in MedGAN).
        layers: λ_i for the image (first) and each hidden layer of the discriminator; a 0 leaves that layer out. The
            paper tunes them without naming them; ones give both hidden layers equal influence.
        margin: m > 0, on the scale of the weighted sum; None is MedGAN, whose discriminator has no such term.
        discriminator_weight: factor of the margin term in the discriminator's total.
    """

    uses_discriminator = True

    def __init__(
        self,
        weight: float = 1.0,
        layers: Sequence[float] = (1.0, 1.0, 1.0),
        margin: float | None = None,
        discriminator_weight: float = 1.0,
    ) -> None:
        super().__init__(weight, discriminator_weight)
        self.layers = tuple(float(value) for value in layers)
        self.margin = None if margin is None else float(margin)
        self.trains_discriminator = margin is not None and self.weight != 0

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The weighted sum over layers; 0 for identical images."""
        found, wanted = _layers(candidate), [layer.detach() for layer in _layers(target)]
        return self._discrepancies(found, wanted).mean()

    def discriminator_loss(self, candidate: Observed, target: Observed) -> Tensor:
        """[m − w Σ_i λ_i P_i]₊ of each image, the mean over the batch: 0 where the features differ enough."""
        if self.margin is None:
            raise ValueError("without a margin the perceptual loss does not train the discriminator")
        discrepancies = self._discrepancies(_layers(candidate), _layers(target))
        return F.relu(self.margin - self.weight * discrepancies).mean()

    def _discrepancies(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """Σ_i λ_i P_i of each image, ``(B,)``."""
        if len(found) != len(self.layers):
            raise ValueError(f"layers has {len(self.layers)} weights for the image and {len(found) - 1} hidden layers")
        pairs = zip(self.layers, found, wanted, strict=True)
        return torch.stack([c * (f - w).abs().flatten(1).mean(1) for c, f, w in pairs if c]).sum(0)


def _layers(observed: Observed) -> list[Tensor]:
    """The image and the outputs of the discriminator's hidden layers."""
    return [observed.image, *observed.hidden()]
