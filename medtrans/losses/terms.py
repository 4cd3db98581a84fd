"""Named, weighted loss terms: what a term is, and how a method adds them up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from medtrans.losses.observed import Observed


class LossTerm(nn.Module):
    """One term of a loss, configured by name and weight in a bundle; subclass it in a file of its own.

    ``forward`` is what the generator minimises. A term that also trains the discriminator overrides
    ``discriminator_loss``. Both return a scalar: a mean over the batch.

    Args:
        weight: factor in the generator's total; 0 leaves the term out.
        discriminator_weight: factor in the discriminator's total.
    """

    trains_discriminator = False
    uses_discriminator = False
    boundary: float | None = None  # of the logit between "synthetic" and "real", for terms that train a discriminator

    def __init__(self, weight: float = 1.0, discriminator_weight: float = 1.0) -> None:
        super().__init__()
        self.weight, self.discriminator_weight = float(weight), float(discriminator_weight)

    def prepare(self) -> None:
        """Fail now, not in the first batch, when something the term needs is missing (weights, for instance)."""

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Networks that the term trains together with the generator, by the name that checkpoints give them."""
        return {}

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """The generator's loss: how far ``candidate`` is from what it should be."""
        raise NotImplementedError

    def measured(self, candidate: Observed, target: Observed) -> dict[str, Tensor]:
        """Named scalars to log beside the term's value, after ``forward`` on the same images; none is minimised."""
        return {}

    def discriminator_loss(self, candidate: Observed, target: Observed) -> Tensor:
        """The discriminator's loss, for terms with ``trains_discriminator``."""
        raise NotImplementedError


class LossTerms(nn.Module):
    """The terms of a method by name.

    Args:
        terms: name -> term, in the order in which they are logged.
    """

    def __init__(self, terms: Mapping[str, LossTerm]) -> None:
        super().__init__()
        for name, term in terms.items():
            if not isinstance(term, LossTerm):
                raise TypeError(f"losses#{name} is {type(term).__name__}, not a LossTerm")
        self.terms = nn.ModuleDict(terms)
        self.observers: list[Callable[[Observed, Observed], None]] = []
        for term in self._of_generator().values():
            term.prepare()

    def train(self, mode: bool = True) -> LossTerms:
        """Terms stay in evaluation mode: their networks are instruments (no dropout, no running statistics)."""
        return super().train(False)

    @property
    def train_a_discriminator(self) -> bool:
        """Whether some term has a loss for the discriminator."""
        return bool(self._of_discriminator())

    @property
    def use_a_discriminator(self) -> bool:
        """Whether some active term looks at the discriminator."""
        return self.train_a_discriminator or any(term.uses_discriminator for term in self._of_generator().values())

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Networks that active terms train together with the generator; terms may share one.

        Raises:
            ValueError: two terms give one name to different networks.
        """
        found: dict[str, nn.Module] = {}
        for term in self._of_generator().values():
            for name, network in term.networks.items():
                if found.setdefault(name, network) is not network:
                    raise ValueError(f"two loss terms train different networks of the name {name!r}: share one")
        return found

    @property
    def boundary(self) -> float | None:
        """The logit above which the discriminator takes an image for real; None where no term sets one."""
        return next((t.boundary for t in self._of_discriminator().values() if t.boundary is not None), None)

    def _of_generator(self) -> dict[str, LossTerm]:
        return {name: term for name, term in self._all().items() if term.weight != 0}

    def _of_discriminator(self) -> dict[str, LossTerm]:
        return {n: t for n, t in self._all().items() if t.trains_discriminator and t.discriminator_weight != 0}

    def _all(self) -> dict[str, LossTerm]:
        return cast("dict[str, LossTerm]", dict(self.terms.items()))

    def generator_loss(self, candidate: Observed, target: Observed) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted total, and the unweighted value of every active term with what it measures, as ``<term>_<name>``."""
        terms = self._of_generator()
        values = {name: term(candidate, target) for name, term in terms.items()}
        if not values:
            raise ValueError("no loss term has a weight other than 0: there is nothing to train the generator with")
        total = torch.stack([terms[name].weight * value for name, value in values.items()]).sum()
        with torch.no_grad():
            for name, term in terms.items():
                measured = term.measured(candidate, target).items()
                values |= {f"{name}_{measure}": value for measure, value in measured}
        return total, values

    def discriminator_loss(self, candidate: Observed, target: Observed) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted total and the unweighted value of every term that trains the discriminator.

        ``observers`` are then shown candidate and target, with what the discriminator said of them.
        """
        values = {n: t.discriminator_loss(candidate, target) for n, t in self._of_discriminator().items()}
        total = torch.stack([self._all()[name].discriminator_weight * value for name, value in values.items()]).sum()
        for observe in self.observers:
            observe(candidate, target)
        return total, values
