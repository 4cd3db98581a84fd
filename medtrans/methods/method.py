"""What a method is: networks, their optimisers and loss terms, and what one batch does with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medtrans.losses import LossTerms

Batch = dict[str, Any]
Loss = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]


class Stepper(Protocol):
    """The side of the training engine that a method sees."""

    def optimize(self, name: str, loss: Loss, parts: list[Batch]) -> dict[str, Tensor]:
        """One step of the optimiser ``name``: forward and backward over every part of the batch, then the update.

        Args:
            name: key in the method's ``optimizers``.
            loss: gives the weighted total and the named values for one part.
            parts: the batch, in as many parts as gradients are accumulated over.

        Returns:
            The named values, and the total under ``"total"``, averaged over the parts.
        """


class Method(nn.Module):
    """A translation method. Subclass it in a file of its own and say in :meth:`update` what one batch does.

    Args:
        networks: name -> network; every one is saved in checkpoints under its name.
        optimizers: name -> optimiser over some of the networks' parameters.
        schedulers: name -> learning-rate schedule, stepped once an epoch.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        schedulers: Mapping[str, LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.optimizers, self.schedulers = dict(optimizers), dict(schedulers or {})

    def update(self, parts: list[Batch], stepper: Stepper) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            parts: the batch (``source``, ``target``, perhaps ``mask``; tensors on the device), split for accumulation.
            stepper: call its ``optimize`` as often, and for as many optimisers, as the method wants.

        Returns:
            Named losses; ``"loss"`` is the generator's total.
        """
        raise NotImplementedError

    def stateful(self) -> dict[str, Any]:
        """Everything a checkpoint needs: flat name -> object with ``state_dict`` and ``load_state_dict``."""
        return {
            **{f"network_{name}": network for name, network in self.networks.items()},
            **{f"optimizer_{name}": optimizer for name, optimizer in self.optimizers.items()},
            **{f"scheduler_{name}": scheduler for name, scheduler in self.schedulers.items()},
        }


@contextmanager
def frozen(*networks: nn.Module | None) -> Iterator[None]:
    """Inside the block the networks are instruments: no parameter gradients, evaluation mode.

    Evaluation mode stops the power iteration of spectral norm, so that what a frozen discriminator says of the target
    stays the same over several generator updates.
    """
    before = [(network, network.training) for network in networks if network is not None]
    for network, _ in before:
        network.requires_grad_(False).eval()
    try:
        yield
    finally:
        for network, training in before:
            network.requires_grad_(True).train(training)


def trained_by_terms(terms: LossTerms, optimizer: Optimizer) -> dict[str, nn.Module]:
    """The networks that loss terms train together with the generator, by name.

    Raises:
        ValueError: the generator's optimiser leaves one of them as it was initialised.
    """
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, network in terms.networks.items():
        if not all(id(parameter) in stepped for parameter in network.parameters()):
            raise ValueError(f"a loss term trains {name!r}, but optimizers#generator lacks its parameters: add them")
    return terms.networks
