"""What an evaluator takes from a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def source_and_target(
    batchdata: dict[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """Source and target of a batch on ``device``: the ``prepare_batch`` of MONAI's evaluators."""
    source, target = (
        batchdata[key].to(device=device, non_blocking=non_blocking, **kwargs) for key in ("source", "target")
    )
    return source, target
