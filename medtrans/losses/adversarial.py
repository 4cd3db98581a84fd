"""The adversarial loss: the discriminator tells real from synthetic, the generator wants to be taken for real."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import PatchAdversarialLoss
from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm

FORMS = ("log", "least_squares", "hinge", "wasserstein")


class Adversarial(LossTerm):
    """Adversarial loss over a map of patch logits z = D(·, y), or D(·) where the method's discriminator sees no source.

    Means over patches and batch; the sum over scales of a discriminator that has several.

    - ``log`` (MedGAN eq. 3, Algorithm 1): generator −log σ(z_G); discriminator −log σ(z_x) − log(1 − σ(z_G)), with the
      sigmoid folded in so that neither saturates numerically.
    - ``least_squares`` (Mao 2017): (z_G − 1)²; (z_x − 1)² + z_G².
    - ``hinge`` (Lim 2017, Miyato 2018): −z_G; max(0, 1 − z_x) + max(0, 1 + z_G).
    - ``wasserstein`` with gradient penalty (Gulrajani 2017): −z_G; z_G − z_x + λ (‖∇_x̂ z̄(x̂, y)‖₂ − 1)², x̂ = t x +
      (1 − t) G(y) with one t ~ U(0, 1) an image, z̄ the mean over the patches. The paper trains with Adam betas
      (0, 0.9), five updates of D for one of G, and no batch normalisation in D.

    Args:
        weight: factor in the generator's total; 0 trains the discriminator without pulling at the generator.
        form: one of the above.
        discriminator_weight: factor in the discriminator's total.
        penalty: λ of the ``wasserstein`` form (10 in the paper); 0 leaves the penalty out, for a discriminator that is
            held in bounds otherwise (spectral normalisation).
    """

    trains_discriminator = True
    uses_discriminator = True

    def __init__(
        self, weight: float = 1.0, form: str = "log", discriminator_weight: float = 1.0, penalty: float = 10.0
    ) -> None:
        super().__init__(weight, discriminator_weight)
        if form not in FORMS:
            raise InputError(f"adversarial form {form!r}", "is unknown", f"Use one of {', '.join(FORMS)}")
        self.form, self.penalty = form, float(penalty)
        self.boundary = {"least_squares": 0.5, "wasserstein": None}.get(form, 0.0)
        self.least_squares = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)

    def _taken_as(self, image: Observed, real: bool, for_discriminator: bool) -> Tensor:
        """The loss of taking an image for real or synthetic, the sum over the discriminator's scales."""
        return torch.stack([self._of_map(logits, real, for_discriminator) for logits in image.logits()]).sum()

    def _of_map(self, logits: Tensor, real: bool, for_discriminator: bool) -> Tensor:
        if self.form == "least_squares":
            return self.least_squares(logits, real, for_discriminator)
        if self.form == "log":
            return F.softplus(-logits if real else logits).mean()  # −log σ(z) and −log(1 − σ(z))
        right = logits if real else -logits
        if self.form == "hinge" and for_discriminator:  # MONAI's hinge squashes the logits with a Tanh first
            return F.relu(1 - right).mean()
        return -right.mean()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """Small when the discriminator takes the candidate for real."""
        return self._taken_as(candidate, real=True, for_discriminator=False)

    def discriminator_loss(self, candidate: Observed, target: Observed) -> Tensor:
        """Small when the discriminator tells target and candidate apart."""
        real = self._taken_as(target, real=True, for_discriminator=True)
        loss = real + self._taken_as(candidate, real=False, for_discriminator=True)
        if self.form == "wasserstein" and self.penalty and torch.is_grad_enabled():
            loss = loss + self.penalty * gradient_penalty(candidate, target)
        return loss


def gradient_penalty(candidate: Observed, target: Observed) -> Tensor:
    """(‖∇_x̂ z̄(x̂, y)‖₂ − 1)², the mean over the batch, at random points between target and candidate (Gulrajani 2017).

    The gradient is to the image alone: the source that conditions the discriminator is the same for both. It is
    computed in float32 whatever the autocast precision, because squares of small gradients vanish in half precision,
    and without torch.compile, which cannot differentiate twice. Parts of an accumulated batch and the processes of
    DistributedDataParallel each penalise their own images: the mean over them is that of the whole batch.
    """
    real, synthetic = target.image.detach(), candidate.image.detach()
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = (share * real + (1 - share) * synthetic).requires_grad_()
    with torch.autocast(between.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        logits = candidate.with_image(between).logits()
        scores = torch.stack([one_scale.flatten(1).mean(1) for one_scale in logits]).sum(0)
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    # ‖0‖ has no derivative: a discriminator that is flat at the start would give NaN
    norms = (gradient.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norms - 1).square().mean()
