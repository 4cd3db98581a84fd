"""CycleGAN and its relatives: two generators that undo each other."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medtrans.losses import LossTerm, Observed
from medtrans.methods.method import Batch
from medtrans.methods.two_way import OTHER, TwoWayTranslation


class CycleTranslation(TwoWayTranslation):
    """G₁: X → Y and G₂: Y → X with discriminators of both domains (Zhu 2017; Cycle-MedGAN eq. 6).

    The members of the family differ in losses only: CycleGAN (adversarial, cycle, identity), Cycle-MedGAN (and cycles
    of features), the supervised CycleGAN_s (and L1 to the paired truth) and Generators_s (L1 alone, no
    discriminators). An image is translated once for all terms; it is translated back, and generators see images of the
    domain they translate to, only where a term asks for that (:class:`medtrans.losses.Cycle`,
    :class:`medtrans.losses.Identity`).

    Args:
        generator_to_target: source ``(B, C, *spatial)`` -> target ``(B, C', *spatial)``, both in [-1, 1].
        generator_to_source: the other way.
        losses: name -> term, see :mod:`medtrans.losses`.
        optimizers: ``generator`` over both generators and, with discriminators, ``discriminator`` over both of those.
        discriminator_of_target, discriminator_of_source: image -> hidden outputs and logits.
        pool_size: images in each discriminator's pool of synthetic images (50 in the paper).
        schedulers: as ``optimizers``, :class:`LinearDecay` for instance.
    """

    def __init__(
        self,
        generator_to_target: nn.Module,
        generator_to_source: nn.Module,
        losses: Mapping[str, LossTerm],
        optimizers: Mapping[str, Optimizer],
        discriminator_of_target: nn.Module | None = None,
        discriminator_of_source: nn.Module | None = None,
        pool_size: int = 50,
        schedulers: Mapping[str, LRScheduler] | None = None,
    ) -> None:
        generators = {"generator_to_target": generator_to_target, "generator_to_source": generator_to_source}
        discriminators = discriminator_of_target, discriminator_of_source
        super().__init__(generators, losses, optimizers, *discriminators, pool_size, schedulers)
        self.generators = {"target": generator_to_target, "source": generator_to_source}

    def candidates(self, part: Batch) -> dict[str, Observed]:
        """Both translations; what is derived from them is computed when a loss term asks for it."""
        return {domain: self._candidate(domain, part) for domain in ("target", "source")}

    def _candidate(self, domain: str, part: Batch) -> Observed:
        there, back = self.generators[domain], self.generators[OTHER[domain]]
        image = there(part[OTHER[domain]])
        derived = {"cycled": lambda: back(image), "kept": lambda: there(part[domain])}
        return self.observed(domain, image, part, derived=derived)
