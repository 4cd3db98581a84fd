"""BiGAN's adversarial loss: pairs of image and code, and both kinds want to be taken for the other."""

from __future__ import annotations

from torch import Tensor

from medtrans.errors import InputError
from medtrans.losses.adversarial import Adversarial
from medtrans.losses.observed import Observed


class JointAdversarial(Adversarial):
    """The discriminator tells (x, E(x)), the target, from (G(z), z), the candidate (BiGAN, Donahue 2017, eq. 3).

    Encoder and generator minimise −log D(G(z), z) − log(1 − D(x, E(x))), the objective with swapped labels that the
    paper trains with (its sec. 3.4): gradients reach the generator through one, the encoder through the other.

    Args:
        weight: factor in the generator's total.
        form: ``"log"``, ``"least_squares"`` or ``"hinge"``, see :class:`Adversarial`.
        discriminator_weight: factor in the discriminator's total.

    Raises:
        InputError: another form; the gradient penalty is not defined for pairs of image and code.
    """

    def __init__(self, weight: float = 1.0, form: str = "log", discriminator_weight: float = 1.0) -> None:
        if form == "wasserstein":
            raise InputError(
                "adversarial form 'wasserstein'", "does not go with a BiGAN", "Use log, least_squares or hinge"
            )
        super().__init__(weight, form, discriminator_weight)

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """Small when the discriminator takes candidate and target for each other."""
        as_real = self._taken_as(candidate, real=True, for_discriminator=False)
        # The discriminator's own form of "synthetic"; hinge has one for the generator, which does not saturate.
        return as_real + self._taken_as(target, real=False, for_discriminator=self.form == "least_squares")
