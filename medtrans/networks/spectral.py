"""Spectral normalisation as a switch on any network."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
Network = TypeVar("Network", bound=nn.Module)


def spectrally_normalised(network: Network) -> Network:
    """Divide the weight of every convolution and linear layer by its largest singular value (Miyato 2018).

    The singular value comes from a power iteration: one step in each forward pass in training mode, none in evaluation
    mode. A weight shared by several parts of the network is normalised once, and stays shared.

    Args:
        network: changed in place; layers that are already normalised stay as they are.

    Returns:
        The same network.
    """
    for layer in network.modules():
        if isinstance(layer, LAYERS) and not is_parametrized(layer, "weight"):
            spectral_norm(layer)
    return network


def folded(network: Network) -> Network:
    """The network for use without training, every normalised weight a plain one: TorchScript cannot normalise.

    Args:
        network: changed in place, and brought to evaluation mode.

    Returns:
        The same network, with the same outputs.
    """
    for layer in network.eval().modules():
        if is_parametrized(layer, "weight"):
            remove_parametrizations(layer, "weight", leave_parametrized=True)
    return network
