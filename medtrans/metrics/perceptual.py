"""Learned perceptual image patch similarity, with weights that are never downloaded behind the user's back."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medtrans.errors import InputError
from medtrans.metrics.base import ImageMetric, Masks
from medtrans.metrics.ssim import too_small
from medtrans.weights import read_weights

logger = logging.getLogger(__name__)

TRUNKS = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}
AT_ONCE = 16  # slices in one pass


class LPIPS(ImageMetric):
    """Learned perceptual image patch similarity (Zhang et al. 2018, v0.1), through the ``lpips`` package.

    Images are scaled from the data range to [-1, 1]; one channel is repeated to three, three are taken as colour,
    any other number is measured channel by channel. A volume's value is the mean over its slices along the last axis
    (those that the mask meets). Inside a mask, each layer's map is averaged with the mask's share of every position.

    Args:
        trunk: ``"alex"`` (as published tables use), ``"vgg"`` or ``"squeeze"``.
        weights: file with the ImageNet weights of the trunk, as torchvision publishes it; by default the one in the
            torch hub cache. Without the file the metric is not available; nothing is downloaded.
        random: use a trunk with random weights drawn from this seed instead: values are then no LPIPS that can be
            compared with a publication.

    Raises:
        InputError: there is no such trunk.
    """

    name, title, higher_is_better, order = "lpips", "LPIPS", False, 65
    definition = (
        "Learned perceptual image patch similarity (Zhang 2018, v0.1, AlexNet trunk), images clipped to the data "
        "range and scaled to [-1, 1]; a volume's value is the mean over its axial slices."
    )

    def __init__(
        self, trunk: str = "alex", weights: str | os.PathLike[str] | None = None, random: int | None = None
    ) -> None:
        if trunk not in TRUNKS:
            raise InputError(f"LPIPS trunk {trunk!r}", "does not exist", f"Choose one of {', '.join(TRUNKS)}")
        self.trunk, self.random = trunk, random
        self.weights = None if weights is None else Path(weights).expanduser()
        self._model: Any = None  # lpips.LPIPS

    @property
    def weights_file(self) -> Path:
        """Where the trunk's weights are looked for."""
        return self.weights or Path(torch.hub.get_dir()) / "checkpoints" / TRUNKS[self.trunk].rsplit("/", 1)[1]

    def unavailable(self) -> str | None:
        """That the trunk's weights are missing, and where to get and put them."""
        if self.random is not None or self.weights_file.is_file():
            return None
        return (
            f"LPIPS is not available: the trunk's weights are missing; fetch {TRUNKS[self.trunk]} and put it at "
            f"{self.weights_file}"
        )

    def refuses(self, shape: Sequence[int]) -> str | None:
        """Slices that the trunk would shrink to nothing."""
        return too_small(shape[:2], 32)

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """Slice by slice, a few at a time."""
        low, high = torch.aminmax(torch.stack([prediction, reference]))
        if low < -1e-6 * width or high > (1 + 1e-6) * width:
            raise ValueError("LPIPS: images leave [0, width]; give data_range as the interval (lower, upper)")
        slices = [_as_slices(image * (2.0 / width) - 1.0) for image in (prediction, reference)]
        planes = [None if mask is None else _as_slices(mask)[:, :1].float() for mask in masks]
        values: list[list[Tensor]] = [[] for _ in masks]
        for start in range(0, len(slices[0]), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            here = [None if plane is None else plane[part] for plane in planes]
            for kept, value in zip(values, self._distances(slices[0][part], slices[1][part], here), strict=True):
                kept.append(value)
        return [torch.cat(kept).view(len(prediction), -1).nanmean(1).to(prediction) for kept in values]

    def _distances(self, x: Tensor, y: Tensor, masks: Masks) -> list[Tensor]:
        """``(B,)`` per mask, for slices ``(B, C, X, Y)`` in [-1, 1]."""
        if x.shape[1] not in (1, 3):
            parts = [self._distances(x[:, [c]], y[:, [c]], masks) for c in range(x.shape[1])]
            return [torch.stack(values).mean(0) for values in zip(*parts, strict=True)]
        model = self._loaded(x.device)
        features = [model.net(model.scaling_layer(image.float().expand(-1, 3, -1, -1))) for image in (x, y)]
        totals = [x.new_zeros(len(x), dtype=torch.float32) for _ in masks]
        for layer, (first, second) in enumerate(zip(*features, strict=True)):
            difference = model.lins[layer]((_unit_length(first) - _unit_length(second)) ** 2)
            for index, mask in enumerate(masks):
                totals[index] = totals[index] + _weighted_mean(difference, mask)
        return totals

    def _loaded(self, device: torch.device) -> Any:
        """The network, on ``device``; read at the first use."""
        if self._model is None:
            self._model = self._load()
        return self._model.to(device)

    def _load(self) -> Any:
        import lpips

        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # lpips still calls torchvision with a deprecated argument
            torch.manual_seed(self.random or 0)
            model = lpips.LPIPS(net=self.trunk, pnet_rand=True, verbose=False)
        if self.random is not None:
            logger.warning("LPIPS runs on a random trunk: its values cannot be compared with published ones")
            return model.eval().requires_grad_(False)
        if reason := self.unavailable():
            raise InputError(self.weights_file, "does not exist, LPIPS needs it", reason)
        _fill_trunk(model, self.weights_file)
        return model.eval().requires_grad_(False)


def _fill_trunk(model: Any, path: Path) -> None:
    """Put torchvision's weights into the trunk, whose slices keep the numbers of the layers."""
    published = read_weights(path)
    try:
        state = {name: published["features." + name.split(".", 1)[1]] for name in model.net.state_dict()}
        model.net.load_state_dict(state)
    except Exception as error:  # a truncated or foreign file fails in many ways
        raise InputError(path, "is not the trunk that LPIPS needs", "Fetch the file again") from error


def _as_slices(image: Tensor) -> Tensor:
    """``(B, C, X, Y, Z)`` -> ``(B·Z, C, X, Y)``; 2D images stay."""
    return image if image.ndim == 4 else image.movedim(-1, 1).flatten(0, 1)


def _unit_length(features: Tensor) -> Tensor:
    import lpips

    return lpips.normalize_tensor(features)


def _weighted_mean(difference: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over positions, or weighted with the mask's share of each; NaN where the mask is empty."""
    if mask is None:
        return difference.flatten(1).mean(1)
    share = F.adaptive_avg_pool2d(mask, (difference.shape[2], difference.shape[3]))
    return (difference * share).flatten(1).sum(1) / share.flatten(1).sum(1)
