"""CycleGAN's learning-rate schedule: constant, then linearly down to zero."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class LinearDecay(LambdaLR):
    """The optimiser's own rate for ``constant_epochs``, then equal steps down that would reach 0 after the last epoch.

    In epoch e (from 0) the factor is 1 − max(0, e + 1 − constant) / (epochs − constant + 1), as in the public
    implementation of CycleGAN, 100 + 100 epochs there. Stepped once an epoch.

    Args:
        optimizer: whose rates are scheduled.
        epochs: of the whole run.
        constant_epochs: epochs before the decay begins; None takes half of them.

    Raises:
        ValueError: more constant epochs than epochs.
    """

    def __init__(self, optimizer: Optimizer, epochs: int, constant_epochs: int | None = None) -> None:
        constant = epochs // 2 if constant_epochs is None else constant_epochs
        if not 0 <= constant <= epochs:
            raise ValueError(f"constant_epochs lies between 0 and epochs = {epochs}, got {constant}")

        def factor(epoch: int) -> float:
            return max(0.0, 1 - max(0, epoch + 1 - constant) / (epochs - constant + 1))

        super().__init__(optimizer, factor)
