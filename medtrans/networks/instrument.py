"""A network that only looks: read on its first use, frozen, never trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Instrument(nn.Module):
    """What loss terms look through: parameters frozen, evaluation mode, gradients flow to the image.

    A subclass says in :meth:`read` where its network comes from and in ``forward`` what is done with it. The network is
    read on the first use, so that a config that gives it no weight does not need its file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module | None = None
        self.place: Tensor
        self.register_buffer("place", torch.zeros(()), persistent=False)  # where .to(device) has brought it

    def read(self) -> nn.Module:
        """The network with its weights; raises InputError where they are not there."""
        raise NotImplementedError

    def load(self) -> Instrument:
        """Read the network now; called once, later calls do nothing."""
        if self.network is None:
            network = self.read().eval()
            for parameter in network.parameters():  # a TorchScript module has no requires_grad_ of its own
                parameter.requires_grad_(False)
            self.network = network.to(self.place.device)
        return self

    def loaded(self) -> nn.Module:
        """The network, read now if it was not before."""
        self.load()
        assert self.network is not None
        return self.network

    def train(self, mode: bool = True) -> Instrument:
        """Stays in evaluation mode: it is an instrument, not a part of the model."""
        return super().train(False)
