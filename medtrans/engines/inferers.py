"""Whole images and volumes through a trained generator, in windows of the size it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer

from medtrans.errors import InputError
from medtrans.progress import progress

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
BACKGROUND = -1.0


def axis_number(axis: str | int) -> int:
    """The spatial axis that slices ``"sagittal"`` (0), ``"coronal"`` (1) or ``"axial"`` (2) are cut across.

    Raises:
        InputError: there is no such axis.
    """
    number = AXES.get(axis, -1) if isinstance(axis, str) else int(axis)
    if number not in AXES.values():
        raise InputError(f"axis {axis!r}", "does not exist", f"Choose one of {', '.join(AXES)}, or 0, 1, 2")
    return number


class WindowInferer(Inferer):
    """Translate images and volumes of any size with windows of the training size only.

    Generators with instance norm change their output with the size of what they see, so they see nothing but windows
    of the training size. What is smaller is padded about its centre with background, as in training; what is larger is
    covered by overlapping windows, blended with Gaussian weights. A window of two dimensions goes over a volume slice
    by slice. It composes MONAI's ``SlidingWindowInferer``; blending is done in float32, also where the network computes
    in half precision. The volume stays on the CPU and only windows go to the network's device, so that its memory is
    bounded by the window, not by the volume.

    Args:
        window: the training size, two or three numbers.
        axis: slices across this axis, ``"axial"``, ``"coronal"``, ``"sagittal"`` or 2, 1, 0; as in training. Looked at
            only for volumes under a two-dimensional window.
        batch_size: windows in one pass through the network; changes memory and speed, not the result.
        overlap: share of a window that its neighbour covers too, at least, in [0, 1).
        device: where windows are computed; None takes the network's.
        show_progress: report on volumes (a bar, or lines in a log).

    Raises:
        InputError: the window has not two or three positive sizes, or another option is out of range.
    """

    def __init__(
        self,
        window: Sequence[int],
        axis: str | int = "axial",
        batch_size: int = 8,
        overlap: float = 0.25,
        device: torch.device | str | None = None,
        show_progress: bool = True,
    ) -> None:
        self.window = tuple(int(size) for size in window)
        self.axis = axis_number(axis)
        self.batch_size, self.overlap, self.device, self.show_progress = int(batch_size), overlap, device, show_progress
        if len(self.window) not in (2, 3) or min(self.window) < 1:
            raise InputError(
                f"window {list(self.window)}", "has not two or three positive sizes", "Choose for example [256, 256]"
            )
        if not 0 <= overlap < 1:
            raise InputError(f"overlap {overlap}", "is out of range", "Choose at least 0, and less than 1")
        if self.batch_size < 1:
            raise InputError(f"batch_size {batch_size}", "is not positive", "Choose 1 or more")

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run ``network`` over ``inputs``.

        Args:
            inputs: ``(B, C, X, Y)`` or ``(B, C, X, Y, Z)`` in [-1, 1], any size. MetaTensors keep what they know.
            network: takes ``(n, C, *window)`` and returns one tensor ``(n, C', *window)``.
            args, kwargs: handed on to ``network``.

        Returns:
            float32 ``(B, C', …)`` of the inputs' size, on the CPU for volumes and on the inputs' device for images.

        Raises:
            ValueError: inputs of this dimension do not fit the window.
        """
        dimensions = inputs.ndim - 2
        if dimensions not in (len(self.window), 3):
            raise ValueError(f"a window {self.window} cannot go over inputs of shape {tuple(inputs.shape)}")
        inputs = inputs.to("cpu", torch.float32) if dimensions == 3 else inputs.float()
        device = self.device or _device_of(network, inputs.device)
        told: Iterator[int] = self._ticks(inputs.shape) if self.show_progress and dimensions == 3 else iter(())

        def predict(windows: torch.Tensor) -> torch.Tensor:
            next(told, None)
            # a copy: MONAI cuts single windows as views and weights the result in place, so that a network that works
            # in place, or returns its input, would overwrite the volume
            return network(windows.clone(), *args, **kwargs).float()

        images, depth = (inputs, 0) if dimensions == len(self.window) else (self._slices(inputs), inputs.shape[0])
        sliding = SlidingWindowInferer(
            roi_size=self.window,
            sw_batch_size=self.batch_size,
            overlap=self.overlap,
            mode="gaussian",
            padding_mode="constant",
            cval=BACKGROUND,
            sw_device=device,
        )
        with torch.no_grad():
            output = cast(torch.Tensor, sliding(images, predict))
        next(told, None)
        if not depth:
            return output
        volume = output.unflatten(0, (depth, -1)).movedim(1, self.axis + 2).contiguous()
        return MetaTensor(volume).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else volume

    def _slices(self, volume: torch.Tensor) -> torch.Tensor:
        """``(B, C, X, Y, Z)`` -> ``(B * slices, C, …)``, contiguous.

        MONAI's ``SliceInferer`` gives the same, but keeps a map of weights as large as the volume, and writes
        every slice across memory.
        """
        plain = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
        return plain.movedim(self.axis + 2, 1).flatten(0, 1).contiguous()

    def window_count(self, shape: Sequence[int]) -> int:
        """How many windows cover inputs of ``shape`` ``(B, C, …)``."""
        sizes = list(self.window)
        if len(shape) - 2 > len(sizes):
            sizes.insert(self.axis, 1)
        count = shape[0]
        for length, size in zip(shape[2:], sizes, strict=True):
            step = max(int(size * (1 - self.overlap)), 1)
            count *= 1 if length <= size else math.ceil((length - size) / step) + 1
        return count

    def _ticks(self, shape: Sequence[int]) -> Iterator[int]:
        """An iterator that reports progress each time it is asked for the next."""
        return iter(progress(range(math.ceil(self.window_count(shape) / self.batch_size)), "translating", unit="batch"))


def volumes_stay(
    batchdata: dict[str, torch.Tensor],
    device: torch.device | str | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``prepare_batch`` for MONAI's evaluator that leaves volumes where they are: :class:`WindowInferer` moves windows.

    Returns:
        ``(source, target)``; the target is None where there is none.
    """
    return batchdata["source"], batchdata.get("target")


def _device_of(network: Any, otherwise: torch.device) -> torch.device:
    """Where the network's parameters lie; ``otherwise`` if it has none."""
    parameters = getattr(network, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    return otherwise if first is None else first.device
