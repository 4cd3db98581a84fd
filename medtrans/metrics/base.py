"""What every image metric is: a name, a unit, a direction, and one value per image of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

DataRange: TypeAlias = float | tuple[float, float]
Masks: TypeAlias = Sequence[Tensor | None]


class ImageMetric(ABC):
    """Compares a batch of predictions with their references, in 2D or 3D, any number of channels.

    A new metric is one new file in this folder with a subclass that sets the class attributes and :meth:`measure`;
    ``medtrans.metrics`` finds it by itself.

    Attributes:
        name: column name in tables.
        title: how people write it.
        definition: one sentence: what is computed, and from which paper.
        higher_is_better: the direction.
        unit: ``"target"`` (the images' own unit), ``"target²"``, or a fixed one such as ``"dB"``.
        clips: whether values outside an interval given as ``data_range`` are clipped to it first. Errors in physical
            units are not, everything that is relative to the range is.
        by_default: whether an evaluation reports it without being asked.
        order: its place in tables.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    definition: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str] = ""
    clips: ClassVar[bool] = True
    by_default: ClassVar[bool] = True
    order: ClassVar[int] = 100

    def __call__(
        self, prediction: Tensor, reference: Tensor, *, data_range: DataRange, mask: Tensor | None = None
    ) -> Tensor:
        """One value per image of the batch.

        Args:
            prediction: ``(B, C, *spatial)``, two or three spatial axes.
            reference: the same shape.
            data_range: the interval ``(lower, upper)`` the images live in: they are measured from its lower end, and
                clipped to it where the metric is relative to the range. Or its width alone: the images are then taken
                as they are. Never derived from the images.
            mask: ``(B, 1, *spatial)``; voxels > 0 count. Metrics with a window average their map at the window
                centres inside the mask.

        Returns:
            ``(B,)``, float64 (float32 where the device has no float64); NaN where the metric is undefined: an empty
            mask, a non-finite voxel in the image.

        Raises:
            ValueError: shapes do not fit together, the images are too small, or the range is not a positive interval.
        """
        return self.in_regions(prediction, reference, data_range=data_range, masks=[mask])[0]

    @torch.no_grad()
    def in_regions(self, prediction: Tensor, reference: Tensor, *, data_range: DataRange, masks: Masks) -> list[Tensor]:
        """As calling, for several masks (None: the whole image) at once; what they share is computed once."""
        self._check(prediction, reference, masks)
        lower, width = _interval(data_range)
        images = [_plain(prediction), _plain(reference)]
        finite = torch.stack([torch.isfinite(image).flatten(1).all(1) for image in images]).all(0)
        if not finite.all():
            keep = finite.view(-1, *[1] * (prediction.ndim - 1))
            images = [torch.where(keep, image, lower or 0.0) for image in images]
        if lower is not None:
            images = [(image.clamp(lower, lower + width) if self.clips else image) - lower for image in images]
        inside = [None if mask is None else (_bare(mask) > 0) for mask in masks]
        values = self.measure(images[0], images[1], width, inside)
        return [torch.where(finite, value, torch.nan) for value in values]

    @abstractmethod
    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """The metric itself, one ``(B,)`` per mask.

        Args:
            prediction: ``(B, C, *spatial)``, finite, float64, measured from the lower end of the range.
            reference: the same.
            width: width of the data range, > 0.
            masks: boolean ``(B, 1, *spatial)``, or None for the whole image.
        """

    def refuses(self, shape: Sequence[int]) -> str | None:
        """Why images of this spatial ``shape`` cannot be measured, or None."""
        return None

    def unavailable(self) -> str | None:
        """Why the metric cannot be computed on this machine, and what to do about it; or None."""
        return None

    def unit_in(self, target_unit: str) -> str:
        """The unit of the value for images in ``target_unit`` (``""``: arbitrary units)."""
        if not self.unit.startswith("target"):
            return self.unit
        return (target_unit or "a.u.") + self.unit.removeprefix("target")

    @property
    def arrow(self) -> str:
        """``↑`` or ``↓``: the direction in which the metric gets better."""
        return "↑" if self.higher_is_better else "↓"

    def _check(self, prediction: Tensor, reference: Tensor, masks: Masks) -> None:
        if prediction.shape != reference.shape:
            raise ValueError(f"shapes differ: {tuple(prediction.shape)} and {tuple(reference.shape)}")
        if prediction.ndim not in (4, 5):
            raise ValueError(f"expected (B, C, *spatial) with 2 or 3 spatial axes, got {tuple(prediction.shape)}")
        expected = (prediction.shape[0], 1, *prediction.shape[2:])
        for mask in masks:
            if mask is not None and tuple(mask.shape) != expected:
                raise ValueError(f"the mask has shape {tuple(mask.shape)}, expected {expected}")
        if reason := self.refuses(prediction.shape[2:]):
            raise ValueError(f"{self.title}: {reason}")


class MapMetric(ImageMetric):
    """A metric that is the mean of a map of local quality; the map is computed once for all masks."""

    @abstractmethod
    def quality_map(self, prediction: Tensor, reference: Tensor, width: float) -> Tensor:
        """The map, ``(B, C, *spatial)``, smaller than the images by what a window loses at the border."""

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """The mean of the map in each mask."""
        quality = self.quality_map(prediction, reference, width)
        return [masked_mean(quality, at_window_centres(mask, quality.shape[2:])) for mask in masks]


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """``(B, C, *spatial)`` -> ``(B,)``: the mean inside ``mask (B, 1, *spatial)``, NaN where the mask is empty."""
    if mask is None:
        return values.flatten(1).mean(1)
    count = mask.flatten(1).sum(1) * values.shape[1]
    total = torch.where(mask, values, 0.0).flatten(1).sum(1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.nan)


def at_window_centres(mask: Tensor | None, shape: Sequence[int]) -> Tensor | None:
    """The mask at the centres of sliding windows that fit into the image at ``shape`` positions."""
    if mask is None:
        return None
    for axis, positions in enumerate(shape, start=2):
        window = mask.shape[axis] - positions + 1
        mask = mask.narrow(axis, window // 2, positions)
    return mask


def _interval(data_range: DataRange) -> tuple[float | None, float]:
    """Lower end (None: not known) and width."""
    ends = np.atleast_1d(np.asarray(data_range, dtype=float))
    width = float(ends[-1] - ends[0]) if len(ends) == 2 else float(ends[0])
    if len(ends) > 2 or not (np.isfinite(ends).all() and width > 0):
        raise ValueError(f"data_range must be a finite width > 0 or an interval lower < upper, got {data_range}")
    return (float(ends[0]) if len(ends) == 2 else None), width


def _bare(image: Tensor) -> Tensor:
    """Without MONAI's metadata, which would follow every operation."""
    return image.as_tensor() if hasattr(image, "as_tensor") else image


def _plain(image: Tensor) -> Tensor:
    """In double precision where the device has it: variances of HU lose their digits in single precision."""
    return _bare(image).to(torch.float32 if image.device.type == "mps" else torch.float64)
