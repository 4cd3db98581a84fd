"""Pictures of validation samples of methods that translate both ways: there, and back again."""

from __future__ import annotations

import os
from typing import Any

import torch
from monai.networks.utils import eval_mode
from torch import Tensor, nn

from medtrans.engines.sample_pictures import SamplePictures, comparison_row, seen_upright
from medtrans.engines.there_and_back import Translate


class CyclePictures(SamplePictures):
    """After each validation a grid, a row a sample: the source, translated, translated back, error; and the target so.

    The errors are those of the way there and back, white = half of the range. What the validation has not computed is
    computed for the samples that are shown only.

    Args:
        folder: as :class:`SamplePictures`.
        to_target, to_source: the two directions, image ``(B, C, *spatial)`` -> image.
        count, every: as :class:`SamplePictures`.
    """

    columns = 8
    title = "source | synthetic target | back | error | target | synthetic source | back | error"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        to_target: Translate,
        to_source: Translate,
        count: int = 4,
        every: int = 1,
    ) -> None:
        super().__init__(folder, count, every)
        self.to_target, self.to_source = to_target, to_source

    def row(self, sample: dict[str, Any]) -> list[Tensor]:
        """The pictures of one sample."""

        def made(name: str, by: Translate, of: Tensor) -> Tensor:
            return sample[name] if name in sample else by(of[None])[0]

        with torch.no_grad(), eval_mode(*(f for f in (self.to_target, self.to_source) if isinstance(f, nn.Module))):
            there = made("pred", self.to_target, sample["image"])
            cycled = made("cycled", self.to_source, there)
            other = made("pred_source", self.to_source, sample["label"])
            back = made("cycled_label", self.to_target, other)
        rows = ((sample["image"], there, cycled), (sample["label"], other, back))
        shown = []
        for image, translated, again in rows:
            _, seen_again, seen, error = comparison_row(image, again, image)
            shown += [seen, seen_upright(translated), seen_again, error]
        return shown
