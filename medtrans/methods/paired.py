"""Paired translation: one generator, a conditional discriminator and named loss terms (MedGAN and its baselines)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medtrans.losses import LossTerm, LossTerms, Observed
from medtrans.methods.method import Batch, Method, Stepper, frozen, trained_by_terms


class PairedTranslation(Method):
    """``generator_steps`` updates of G, then one of D, on the same batch (MedGAN Algorithm 1).

    The members of the family (cGAN, pix2pix, PAN, ID-CGAN, Fila-sGAN, MedGAN) differ in networks and losses only. What
    the frozen discriminator and other extractors find in the target is computed once a batch.

    Args:
        generator: source ``(B, C, *spatial)`` -> target ``(B, C', *spatial)``, both in [-1, 1].
        losses: name -> term, see :mod:`medtrans.losses`.
        optimizers: ``generator``, which also holds the parameters of networks that loss terms train, and, with a
            discriminator, ``discriminator``.
        discriminator: candidate and source concatenated -> hidden outputs and logits; None where no term needs one.
        generator_steps: updates of G for each of D.
        schedulers: as ``optimizers``.
    """

    def __init__(
        self,
        generator: nn.Module,
        losses: Mapping[str, LossTerm],
        optimizers: Mapping[str, Optimizer],
        discriminator: nn.Module | None = None,
        generator_steps: int = 3,
        schedulers: Mapping[str, LRScheduler] | None = None,
    ) -> None:
        terms = LossTerms(losses)
        networks = {"generator": generator} | ({} if discriminator is None else {"discriminator": discriminator})
        super().__init__(networks | trained_by_terms(terms, optimizers["generator"]), optimizers, schedulers)
        if generator_steps < 1:
            raise ValueError(f"generator_steps is at least 1, got {generator_steps}")
        self.losses = terms
        if self.losses.use_a_discriminator and discriminator is None:
            raise ValueError("a loss term needs a discriminator, but the method has none")
        self.generator, self.discriminator, self.generator_steps = generator, discriminator, generator_steps

    def update(self, parts: list[Batch], stepper: Stepper) -> dict[str, Tensor]:
        """Train on one batch, see :class:`Method`."""
        targets = [self._observed(part["target"], part, constant=True) for part in parts]
        known = {id(part): target for part, target in zip(parts, targets, strict=True)}

        def generator_loss(part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            candidate = self._observed(self.generator(part["source"]), part)
            return self.losses.generator_loss(candidate, known[id(part)])

        with frozen(self.discriminator):
            for _ in range(self.generator_steps):
                values = stepper.optimize("generator", generator_loss, parts)
        logged = {"loss": values.pop("total"), **values}
        if self.discriminator is not None and self.losses.train_a_discriminator:
            values = stepper.optimize("discriminator", self._discriminator_loss, parts)
            logged["discriminator"] = values.pop("total")
            logged |= {f"discriminator_{name}": value for name, value in values.items()}
        return logged

    def _discriminator_loss(self, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            synthetic = self.generator(part["source"])
        return self.losses.discriminator_loss(
            self._observed(synthetic.detach(), part), self._observed(part["target"], part)
        )

    def _observed(self, image: Tensor, part: Batch, constant: bool = False) -> Observed:
        label = part["label"] if isinstance(part.get("label"), Tensor) else None
        return Observed(image, part["source"], part.get("mask"), self.discriminator, constant, label=label)
