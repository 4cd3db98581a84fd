"""What unpaired methods have in common: both directions at once, a discriminator a domain, an image pool for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medtrans.losses import LossTerm, LossTerms, Observed
from medtrans.methods.image_pool import ImagePool
from medtrans.methods.method import Batch, Method, Stepper, frozen, trained_by_terms

OTHER = {"source": "target", "target": "source"}


class TwoWayTranslation(Method):
    """Generators of both directions are updated together, then both discriminators; subclasses say how to translate.

    Source and target of a batch need not belong together. Discriminators see images alone, no condition. Every loss
    term acts in both directions with the same weight and is logged as ``<name>_to_target`` and ``<name>_to_source``.
    The update of the discriminators takes the synthetic images that the update of the generators made.

    Args:
        generators: name -> network, saved under that name.
        losses: name -> term, see :mod:`medtrans.losses`.
        optimizers: ``generator`` over all generators and, with discriminators, ``discriminator`` over both of them.
        discriminator_of_target, discriminator_of_source: image -> hidden outputs and logits; None where no term needs
            them.
        pool_size: images in each discriminator's :class:`ImagePool`.
        schedulers: as ``optimizers``.
    """

    def __init__(
        self,
        generators: Mapping[str, nn.Module],
        losses: Mapping[str, LossTerm],
        optimizers: Mapping[str, Optimizer],
        discriminator_of_target: nn.Module | None = None,
        discriminator_of_source: nn.Module | None = None,
        pool_size: int = 50,
        schedulers: Mapping[str, LRScheduler] | None = None,
    ) -> None:
        given = {"target": discriminator_of_target, "source": discriminator_of_source}
        discriminators = {f"discriminator_of_{domain}": d for domain, d in given.items() if d is not None}
        terms = LossTerms(losses)
        networks = {**generators, **discriminators, **trained_by_terms(terms, optimizers["generator"])}
        super().__init__(networks, optimizers, schedulers)
        self.losses = terms
        if self.losses.use_a_discriminator and len(discriminators) < 2:
            raise ValueError("a loss term needs the discriminators of both domains, but the method has not both")
        self.discriminators = given
        self.pools = {domain: ImagePool(pool_size) for domain in given}

    def candidates(self, part: Batch) -> dict[str, Observed]:
        """The translations of one part of a batch by the domain they are translated to, see :meth:`observed`."""
        raise NotImplementedError

    def update(self, parts: list[Batch], stepper: Stepper) -> dict[str, Tensor]:
        """Train on one batch, see :class:`Method`."""
        synthetic: dict[str, list[Tensor]] = {domain: [] for domain in OTHER}

        def generator_loss(part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            candidates = self.candidates(part)
            for domain, candidate in candidates.items():
                synthetic[domain].append(candidate.image.detach())
            targets = {domain: self.observed(domain, part[domain], part, constant=True) for domain in candidates}
            return self._both(lambda domain: self.losses.generator_loss(candidates[domain], targets[domain]))

        with frozen(*self.discriminators.values()):
            values = stepper.optimize("generator", generator_loss, parts)
        logged = {"loss": values.pop("total"), **values}
        if self.losses.train_a_discriminator:
            values = stepper.optimize("discriminator", self._discriminator_loss(parts, synthetic), parts)
            logged["discriminator"] = values.pop("total")
            logged |= {f"discriminator_{name}": value for name, value in values.items()}
        return logged

    def _discriminator_loss(self, parts: list[Batch], synthetic: dict[str, list[Tensor]]) -> Any:
        """The loss of both discriminators for one of ``parts``, with images from the pools."""
        sizes = [len(part["source"]) for part in parts]
        pooled = {d: self.pools[d].exchange(torch.cat(images)).split(sizes) for d, images in synthetic.items()}
        places = {id(part): place for place, part in enumerate(parts)}

        def loss(part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            def of_domain(domain: str) -> tuple[Tensor, dict[str, Tensor]]:
                candidate = self.observed(domain, pooled[domain][places[id(part)]], part)
                return self.losses.discriminator_loss(candidate, self.observed(domain, part[domain], part))

            return self._both(of_domain)

        return loss

    def _both(self, loss_of: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of both directions' losses, and their named values."""
        found = {domain: loss_of(domain) for domain in ("target", "source")}
        total = torch.stack([total for total, _ in found.values()]).sum()
        return total, {
            f"{n}_to_{domain}": value for domain, (_, values) in found.items() for n, value in values.items()
        }

    def observed(self, domain: str, image: Tensor, part: Batch, **options: Any) -> Observed:
        """An image of ``domain``, real or translated to it, as its discriminator sees it."""
        return Observed(
            image,
            part[OTHER[domain]],
            part.get("mask"),
            self.discriminators[domain],
            conditional=False,
            label=part.get("label"),
            **options,
        )

    def stateful(self) -> dict[str, Any]:
        """Networks, optimisers, schedules and the pools' images."""
        return {**super().stateful(), **{f"pool_{domain}": pool for domain, pool in self.pools.items()}}
