"""BiGAN: pre-training of the feature extractor that Cycle-MedGAN compares images with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medtrans.errors import InputError
from medtrans.losses import LossTerm, LossTerms, Observed
from medtrans.methods.method import Batch, Method, Stepper, frozen

PRIORS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda like: torch.rand_like(like) * 2 - 1,
    "normal": torch.randn_like,
}


class BiGANPretraining(Method):
    """Encoder and generator learn to invert each other, against a discriminator of image and code (Donahue 2017).

    The discriminator tells (x, E(x)) from (G(z), z); encoder and generator want each taken for the other
    (:class:`medtrans.losses.JointAdversarial`), and G(E(x)) to be x (:class:`medtrans.losses.Reconstruction`).
    Images are the batch's ``source``.

    Args:
        network: a :class:`medtrans.networks.BiGAN`.
        discriminator: a :class:`medtrans.networks.BiGANDiscriminator`.
        losses: name -> term.
        optimizers: ``generator`` over the network, ``discriminator`` over the discriminator.
        prior: where codes are drawn from, ``"uniform"`` in [-1, 1] (as in the paper) or ``"normal"``.
        schedulers: as ``optimizers``.

    Raises:
        InputError: unknown prior.
    """

    def __init__(
        self,
        network: nn.Module,
        discriminator: nn.Module,
        losses: Mapping[str, LossTerm],
        optimizers: Mapping[str, Optimizer],
        prior: str = "uniform",
        schedulers: Mapping[str, LRScheduler] | None = None,
    ) -> None:
        super().__init__({"generator": network, "discriminator": discriminator}, optimizers, schedulers)
        if prior not in PRIORS:
            raise InputError(f"prior {prior!r}", "is unknown", f"Use one of {', '.join(PRIORS)}")
        self.network, self.discriminator, self.prior = network, discriminator, PRIORS[prior]
        self.losses = LossTerms(losses)

    def update(self, parts: list[Batch], stepper: Stepper) -> dict[str, Tensor]:
        """Train on one batch, see :class:`Method`."""
        made: dict[int, tuple[Tensor, ...]] = {}

        def generator_loss(part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            image = part["source"]
            code = self.network(image, to="code")
            drawn = self.prior(code)
            generated = self.network(drawn, of="code")
            made[id(part)] = (generated.detach(), drawn, code.detach())
            candidate = self._joint(
                generated, drawn, image, derived={"reconstructed": lambda: self.network(code, of="code")}
            )
            return self.losses.generator_loss(candidate, self._joint(image, code, image))

        def discriminator_loss(part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            generated, drawn, code = made[id(part)]
            image = part["source"]
            return self.losses.discriminator_loss(self._joint(generated, drawn, image), self._joint(image, code, image))

        with frozen(self.discriminator):
            values = stepper.optimize("generator", generator_loss, parts)
        logged = {"loss": values.pop("total"), **values}
        if self.losses.train_a_discriminator:
            values = stepper.optimize("discriminator", discriminator_loss, parts)
            logged["discriminator"] = values.pop("total")
            logged |= {f"discriminator_{name}": value for name, value in values.items()}
        return logged

    def _joint(self, image: Tensor, code: Tensor, original: Tensor, **options: Any) -> Observed:
        """An image as the discriminator sees it together with its code."""
        return Observed(image, original, None, partial(self.discriminator, code=code), conditional=False, **options)
