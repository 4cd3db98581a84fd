"""How much the synthetic images of a validation differ from one another, measured by how much real ones do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.handlers import from_engine
from torch import Tensor

SYNTHETIC_AND_REAL = from_engine(["pred", "label"])


class Diversity(Metric):
    """√(mean variance of synthetic images) / √(the same of real target images), voxel by voxel across the validation.

    1 where synthetic images differ as real ones do; towards 0 where all of them become one image, the sign of mode
    collapse. Blurred images have less than 1, too. Pairs are not needed. Images are of one size; NaN for fewer than
    two.

    Args:
        output_transform: the evaluator's output -> synthetic and real images, each a list of ``(C, *spatial)``.
    """

    def __init__(self, output_transform: Callable = SYNTHETIC_AND_REAL) -> None:
        super().__init__(output_transform, skip_unrolling=True)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all images."""
        self.count = torch.zeros((), dtype=torch.float64)
        self.sums = torch.zeros(1, dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: Sequence[Sequence[Tensor]]) -> None:
        """Add a batch."""
        stacked = torch.stack([torch.stack(list(images)).double().flatten(1) for images in output])
        moments = torch.stack([stacked.sum(1), stacked.square().sum(1)]).cpu()
        self.sums = moments if self.sums.ndim == 1 else self.sums + moments
        self.count = self.count + stacked.shape[1]

    @sync_all_reduce("count:SUM", "sums:SUM")
    def compute(self) -> float:
        """The ratio."""
        if self.count < 2:
            return math.nan
        means, squares = self.sums / self.count
        synthetic, real = (squares - means.square()).clamp(min=0).mean(-1).sqrt().tolist()
        return synthetic / real if real > 0 else math.nan
