"""UNIT: translation through one latent space of both domains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medtrans.losses import LossTerm, Observed
from medtrans.methods.method import Batch
from medtrans.methods.two_way import OTHER, TwoWayTranslation


class UnitTranslation(TwoWayTranslation):
    """Two variational autoencoders with a shared latent space, and discriminators of both domains (Liu 2017, eq. 3-6).

    A code is drawn around what the encoder says, with unit variance; one draw serves the reconstruction within the
    domain and the translation to the other, another one the way back. The objective is made of the terms
    :class:`medtrans.losses.Adversarial`, :class:`medtrans.losses.Reconstruction`, :class:`medtrans.losses.Cycle` and
    two of :class:`medtrans.losses.CodeDivergence`, one for the code of the image and one for that of its translation.

    Args:
        network: a :class:`medtrans.networks.UNIT`.
        losses: name -> term, see :mod:`medtrans.losses`.
        optimizers: ``generator`` over the network and ``discriminator`` over both discriminators.
        discriminator_of_target, discriminator_of_source: image -> hidden outputs and logits, of one scale or several.
        pool_size: images in each discriminator's pool; UNIT has none.
        schedulers: as ``optimizers``.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, LossTerm],
        optimizers: Mapping[str, Optimizer],
        discriminator_of_target: nn.Module | None = None,
        discriminator_of_source: nn.Module | None = None,
        pool_size: int = 0,
        schedulers: Mapping[str, LRScheduler] | None = None,
    ) -> None:
        discriminators = discriminator_of_target, discriminator_of_source
        super().__init__({"generator": network}, losses, optimizers, *discriminators, pool_size, schedulers)
        self.network = network

    def candidates(self, part: Batch) -> dict[str, Observed]:
        """Both translations; what is derived from them is computed when a loss term asks for it."""
        return {domain: self._candidate(domain, part) for domain in ("target", "source")}

    def _candidate(self, domain: str, part: Batch) -> Observed:
        origin, network = OTHER[domain], self.network
        size = list(part[origin].shape[2:])
        mean = network(part[origin], origin, "code")
        code = _drawn(mean)
        image = network(code, "code", domain, size)
        mean_of_image = cache(lambda: network(image, domain, "code"))
        derived = {
            "code": lambda: mean,
            "reconstructed": lambda: network(code, "code", origin, size),
            "cycled_code": mean_of_image,
            "cycled": lambda: network(_drawn(mean_of_image()), "code", origin, size),
        }
        return self.observed(domain, image, part, derived=derived)


def _drawn(mean: Tensor) -> Tensor:
    """A code around ``mean`` with unit variance."""
    return mean + torch.randn_like(mean)
