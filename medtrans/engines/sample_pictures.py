"""Pictures of validation samples during training: source, synthetic, target and error, in TensorBoard and as PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from ignite.engine import Engine, Events
from torch import Tensor

from medtrans.files import written_whole


def seen_upright(image: Tensor) -> Tensor:
    """One ``(C, X, Y[, Z])`` image in [-1, 1] as ``(1, rows, columns)`` in [0, 1], front or top up; a middle slice."""
    image = image[:1].float()
    if image.dim() == 4:
        image = image[..., image.shape[-1] // 2]
    return ((image.transpose(1, 2).flip(1) + 1) / 2).clamp(0, 1)


def comparison_row(source: Tensor, synthetic: Tensor, target: Tensor) -> list[Tensor]:
    """Source, synthetic, target and absolute error (white = half of the range) of one sample, each upright."""
    error = (synthetic[:1].float() - target[:1].float()).abs() * 2 - 1
    return [seen_upright(image) for image in (source, synthetic, target, error)]


def same_size(images: list[Tensor]) -> Tensor:
    """``(1, rows, columns)`` images as one ``(B, 1, rows, columns)``, black at the right and below."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    return torch.stack([F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images])


class SamplePictures:
    """After each validation, a grid of ``count`` samples, one a row. Attach to the evaluator.

    Args:
        folder: TensorBoard events go here, PNG files to ``<folder>/pictures``.
        count: number of samples, spread over the validation set.
        every: validations between two grids.
    """

    columns = 4
    title = "source | synthetic | target | error"

    def __init__(self, folder: str | os.PathLike[str], count: int = 4, every: int = 1) -> None:
        self.folder, self.count, self.every = Path(folder), count, every
        self.rows: list[Tensor] = []
        self.writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``."""
        if engine.state.rank != 0:
            return
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def row(self, sample: dict[str, Any]) -> list[Tensor]:
        """The pictures of one sample, each ``(1, rows, columns)``."""
        return comparison_row(sample["image"], sample["pred"], sample["label"])

    def _collect(self, engine: Engine) -> None:
        step = max(1, (engine.state.epoch_length or 1) // self.count)
        if (engine.state.iteration - 1) % step == step // 2 and len(self.rows) < self.columns * self.count:
            sample = cast("list", engine.state.output)[0]
            self.rows += [picture.cpu() for picture in self.row(sample)]

    def _draw(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        if not self.rows or epoch % self.every:
            return
        from torch.utils.tensorboard import SummaryWriter
        from torchvision.utils import make_grid, save_image

        grid = make_grid(same_size(self.rows), nrow=self.columns, pad_value=0.5)
        self.writer = self.writer or SummaryWriter(str(self.folder))
        self.writer.add_image(self.title, grid, epoch)
        self.writer.flush()
        with written_whole(self.folder / "pictures" / f"epoch_{epoch:04d}.png") as temporary:
            save_image(grid, str(temporary))
