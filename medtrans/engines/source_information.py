"""How much synthetic images still say about the images they were made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.handlers import from_engine
from torch import Tensor

BINS = 32
BACKGROUND = -0.95
SOURCE_AND_SYNTHETIC = from_engine(["image", "pred"])


class SourceInformation(Metric):
    """Mutual information of source and synthetic image, in nats, from one joint histogram of a whole validation.

    32 × 32 equal bins over [-1, 1], voxels of the source's body only (above -0.95), the first channel of each. One
    histogram for all images keeps the bias, about (bins - 1)² / 2N for N voxels, below 0.01 where a histogram for each
    image of 64 × 64 has 0.3. A generator that invents anatomy loses what its images had in common with the source.

    Args:
        output_transform: what the evaluator's output holds -> source and synthetic images, lists of ``(C, *spatial)``.
    """

    def __init__(self, output_transform: Callable = SOURCE_AND_SYNTHETIC) -> None:
        super().__init__(output_transform, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        self.counts = torch.zeros(BINS * BINS, dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: Sequence[Sequence[Tensor]]) -> None:
        """Add a batch."""
        for source, synthetic in zip(*output, strict=True):
            body = source[0] > BACKGROUND
            cells = _bin(source[0][body]) * BINS + _bin(synthetic[0][body])
            self.counts += torch.bincount(cells.flatten(), minlength=BINS * BINS).cpu()

    @sync_all_reduce("counts:SUM")
    def compute(self) -> float:
        """H(x) + H(y) - H(x, y); 0 where there is no body."""
        joint = (self.counts / self.counts.sum().clamp(min=1)).view(BINS, BINS)
        return float(_entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint))


def _bin(values: Tensor) -> Tensor:
    return ((values.float() + 1) / 2 * BINS).long().clamp(0, BINS - 1)


def _entropy(shares: Tensor) -> Tensor:
    return torch.special.entr(shares).sum()
