"""MedGAN's perceptual loss: the discriminator's own features of output and target agree, and so do the pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm


class DiscriminatorPerceptual(LossTerm):
    """Σ_i λ_i · mean|D_i(G(y), y) − D_i(x, y)| with D_0 the image itself (MedGAN eq. 6-7).

    The discriminator is frozen while the generator is updated: gradients reach the generator only.

    Args:
        weight: factor in the generator's total (λ₁ = 20 in the paper).
        layers: λ_i for the image (first) and each hidden layer of the discriminator; a 0 leaves that layer out. The
            paper tunes them without naming them; ones give both hidden layers equal influence.
    """

    uses_discriminator = True

    def __init__(self, weight: float = 1.0, layers: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__(weight)
        self.layers = tuple(float(value) for value in layers)

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The weighted sum over layers; 0 for identical images."""
        found = [candidate.image, *candidate.hidden()]
        wanted = [target.image, *target.hidden()]
        if len(found) != len(self.layers):
            raise ValueError(f"layers has {len(self.layers)} weights for the image and {len(found) - 1} hidden layers")
        terms = [c * F.l1_loss(f, w.detach()) for c, f, w in zip(self.layers, found, wanted, strict=True) if c]
        return torch.stack(terms).sum()
