"""A network that all processes of a distributed run train together."""

from __future__ import annotations

import torch
from torch import nn


def of_all_processes(network: nn.Module) -> nn.Module:
    """``network`` wrapped for gradients averaged over the processes where several run, or itself where one does.

    For overlays that add a network, so that they go with ``multi_gpu_train.json`` and without.

    Args:
        network: on its device.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return network
    device = next(network.parameters()).device
    devices = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)
