"""Where weights begin, by the width of their layer: narrow layers need larger weights than wide ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def glorot_init(module: nn.Module) -> None:
    """Uniform with variance 2 / (fan-in + fan-out), biases 0 (Glorot 2010); Keras' default. For ``network.apply``."""
    _filled(module, nn.init.xavier_uniform_)


def he_init(module: nn.Module) -> None:
    """Normal with variance 2 / fan-in, biases 0 (He 2015). For ``network.apply``."""
    _filled(module, nn.init.kaiming_normal_)


@torch.no_grad()
def _filled(module: nn.Module, fill: Callable[[Tensor], Tensor]) -> None:
    if isinstance(module, CONVOLUTIONS):
        fill(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
