"""The adversarial loss: the discriminator tells real from synthetic, the generator wants to be taken for real."""

from __future__ import annotations

import torch.nn.functional as F
from monai.losses import PatchAdversarialLoss
from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm

FORMS = ("log", "least_squares")


class Adversarial(LossTerm):
    """Conditional adversarial loss over a map of patch logits (MedGAN eq. 3, Algorithm 1).

    ``log``: generator −log D(G(y), y); discriminator −log D(x, y) − log(1 − D(G(y), y)), with the sigmoid folded in so
    that neither saturates numerically. ``least_squares``: (D − 1)² and (D(x, y) − 1)² + D(G(y), y)² (Mao 2017).

    Args:
        weight: factor in the generator's total; 0 trains the discriminator without pulling at the generator.
        form: ``"log"`` or ``"least_squares"``.
        discriminator_weight: factor in the discriminator's total.
    """

    trains_discriminator = True
    uses_discriminator = True

    def __init__(self, weight: float = 1.0, form: str = "log", discriminator_weight: float = 1.0) -> None:
        super().__init__(weight, discriminator_weight)
        if form not in FORMS:
            raise InputError(f"adversarial form {form!r}", "is unknown", f"Use one of {', '.join(FORMS)}")
        self.form = form
        self.least_squares = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)

    def _taken_as(self, logits: Tensor, real: bool, for_discriminator: bool) -> Tensor:
        if self.form == "least_squares":
            return self.least_squares(logits, real, for_discriminator)
        return F.softplus(-logits if real else logits).mean()  # −log σ(z) and −log(1 − σ(z))

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """Small when the discriminator takes the candidate for real."""
        return self._taken_as(candidate.judged()[-1], real=True, for_discriminator=False)

    def discriminator_loss(self, candidate: Observed, target: Observed) -> Tensor:
        """Small when the discriminator tells target and candidate apart."""
        real = self._taken_as(target.judged()[-1], real=True, for_discriminator=True)
        return real + self._taken_as(candidate.judged()[-1], real=False, for_discriminator=True)
