"""What all processes of a distributed run do alike: train one network, take one decision."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed
from torch import nn

Decision = TypeVar("Decision", bool, float, str)


def of_all_processes(network: nn.Module) -> nn.Module:
    """``network`` wrapped for gradients averaged over the processes where several run, or itself where one does.

    For overlays that add a network, so that they go with ``multi_gpu_train.json`` and without.

    Args:
        network: on its device.
    """
    if not _distributed():
        return network
    device = next(network.parameters()).device
    devices = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def as_the_first_process(said: Decision) -> Decision:
    """What the first process says, in all of them, so that none stops, or goes on, alone: the others would wait for it.

    Call it in every process at the same place.
    """
    if not _distributed():
        return said
    of_all = [said]
    torch.distributed.broadcast_object_list(of_all, 0)
    return of_all[0]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
