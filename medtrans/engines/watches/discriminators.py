"""Who is winning: how often each discriminator is right, and what it says on average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine
from torch import Tensor

from medtrans.engines.watches.watch import Watch
from medtrans.losses import LossTerms, Observed

if TYPE_CHECKING:
    from medtrans.engines.trainer import TranslationTrainer

MEASURES = ("accuracy_real", "accuracy_synthetic", "logit_real", "logit_synthetic")


class Discriminators(Watch):
    """Columns ``<discriminator>_accuracy_real``, ``…_accuracy_synthetic``, ``…_logit_real``, ``…_logit_synthetic``.

    Means over patches, scales and batch, of the images that the discriminator's own update looked at: synthetic ones
    may come from the image pool. An image counts as taken for real where its logit is above the boundary of the
    adversarial loss; the Wasserstein form has none, and no accuracies. In distributed training, the first process's.

    Two signs, on the means of an epoch:

    - ``won``: right about real and synthetic patches in more than ``won`` of the cases: its gradients no longer tell
      the generator what to do better.
    - ``lost``: real and synthetic patches get the same answer, so that the accuracies add up to 1 within ``lost``:
      the generator is no longer told anything.

    Args:
        won, lost: the limits.
        after: steps of the training before which nothing is a sign; at first no discriminator knows anything.
        epochs: how many in a row, see :class:`Watch`.
    """

    name = "discriminators"

    def __init__(self, won: float = 0.995, lost: float = 0.02, after: int = 200, epochs: int = 3) -> None:
        self.won, self.lost, self.after, self.epochs = won, lost, after, epochs
        self.names: dict[int, str] = {}
        self.boundary: float | None = None
        self.looked: dict[str, list[tuple[int, Tensor]]] = {}
        self.sums: dict[str, Tensor] = {}
        self.steps = self.all_steps = 0

    def attach(self, trainer: TranslationTrainer, evaluator: Engine | None) -> None:
        """Look over the shoulder of the loss terms that train a discriminator."""
        losses = getattr(trainer.method, "losses", None)
        if isinstance(losses, LossTerms) and losses.train_a_discriminator:
            self.names = {id(network): name for name, network in trainer.method.networks.items()}
            self.boundary = losses.boundary
            losses.observers.append(self.look)

    def look(self, candidate: Observed, target: Observed) -> None:
        """Measure what a discriminator has just said of a synthetic and a real image."""
        judge = getattr(target.discriminator, "func", target.discriminator)  # BiGAN's is a partial
        if target.judged is None or candidate.judged is None or id(judge) not in self.names:
            return
        logits = [torch.cat([scale[-1].detach().flatten() for scale in x.judged or ()]) for x in (target, candidate)]
        means = [values.mean() for values in logits]
        if self.boundary is not None:
            means = [(logits[0] > self.boundary).float().mean(), (logits[1] <= self.boundary).float().mean(), *means]
        self.looked.setdefault(self.names[id(judge)], []).append((len(target.image), torch.stack(means)))

    def values(self) -> dict[str, Tensor | float]:
        """The means over the parts of the batch."""
        found: dict[str, Tensor | float] = {}
        self.steps += bool(self.looked)
        self.all_steps += bool(self.looked)
        for name, parts in self.looked.items():
            mean = torch.stack([size * values for size, values in parts]).sum(0) / sum(size for size, _ in parts)
            self.sums[name] = self.sums.get(name, torch.zeros_like(mean)) + mean
            found |= {f"{name}_{m}": v for m, v in zip(MEASURES[-len(mean) :], mean, strict=True)}
        self.looked = {}
        return found

    def signs(self, epoch: int) -> dict[str, str]:
        """Discriminators that have won or lost, on the mean of the epoch's steps."""
        found: dict[str, str] = {}
        for name, sums in self.sums.items():
            mean = (sums / max(1, self.steps)).tolist()
            if len(mean) == len(MEASURES) and self.all_steps > self.after:
                found |= self._sign(name, *mean[:2])
        self.sums, self.steps = {}, 0
        return found

    def _sign(self, name: str, of_real: float, of_synthetic: float) -> dict[str, str]:
        figures = f"right about {of_real:.1%} of real and {of_synthetic:.1%} of synthetic patches"
        if min(of_real, of_synthetic) > self.won:
            return {f"{name}_won": f"the {name} has won, it is {figures}: it is too strong for the generator"}
        if abs(of_real + of_synthetic - 1) < self.lost:
            return {f"{name}_lost": f"the {name} has lost, it is {figures}: it no longer tells the generator anything"}
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The sums of an unfinished epoch, and how many steps there have been."""
        sums = {name: value.cpu() for name, value in self.sums.items()}
        return {"sums": sums, "steps": self.steps, "all_steps": self.all_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the sums of an unfinished epoch."""
        self.sums, self.steps, self.all_steps = dict(state["sums"]), int(state["steps"]), int(state["all_steps"])
