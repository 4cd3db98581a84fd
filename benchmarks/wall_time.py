"""How long a call takes, on a GPU too."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def seconds(step: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call, until the device has done what it was given."""
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
