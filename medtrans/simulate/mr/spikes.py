"""Spikes in k-space: a discharge adds to one sample, and the image is hatched by a plane wave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits
from medtrans.simulate.mr.kspace import along
from medtrans.simulate.mr.signal_level import signal_level


class KSpaceSpikes(Degradation):
    """The magnitude of the image plus a complex plane wave for each spike.

    A value that is added to one sample of k-space is a wave over the whole image, whose place in k-space is the number
    of its cycles in the field of view. Where nothing else is, one wave is a haze, and several beat.

    Args:
        number: of spikes, whole numbers.
        percent: amplitude of each wave in % of the signal of the foreground.
        frequency: distance of the spikes from the zero frequency, as a share of the largest frequency of each axis, 0
            to 1.
        slice_axis: a volume was measured in slices across this axis, and a spike hits one of them. None: it was
            measured whole.

    Raises:
        ValueError: a number or a percentage is below 0, a frequency not within 0 to 1, or there is no such axis.
    """

    def __init__(
        self,
        number: Range = (1, 3),
        percent: Range = (5.0, 25.0),
        frequency: Range = (0.1, 0.8),
        slice_axis: int | None = 2,
    ) -> None:
        if limits(number)[0] < 0 or any(bound % 1 for bound in limits(number)):
            raise ValueError(f"number is a whole number of spikes, got {number}")
        if limits(percent)[0] < 0:
            raise ValueError(f"percent is 0 or more, got {percent}")
        if not 0 <= limits(frequency)[0] <= limits(frequency)[1] <= 1:
            raise ValueError(f"frequency is a share of the largest, 0 to 1, got {frequency}")
        if slice_axis not in (None, 0, 1, 2):
            raise ValueError(f"slice_axis is 0, 1, 2 or None, got {slice_axis}")
        self.number, self.percent, self.frequency, self.slice_axis = number, percent, frequency, slice_axis

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """One record a spike."""
        low, high = (int(bound) for bound in limits(self.number))
        return {"spikes": [self._spike(shape[1:]) for _ in range(int(self.R.randint(low, high + 1)))]}

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The magnitude of image and waves."""
        result = img.to(torch.complex64)
        level = signal_level(img)
        for spike in parameters["spikes"]:
            wave = plane_wave(img.shape[1:], spike["cycles"], spike["phase"], img.device)
            if spike["slice"] is not None:
                axis, place = spike["slice"]
                only = torch.zeros(img.shape[axis + 1], device=img.device)
                only[place] = 1
                wave = wave * along(only, axis, wave.ndim)
            result = result + spike["percent"] / 100 * level * wave
        return result.abs()

    def _spike(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Place, strength and phase of a spike."""
        across = self.slice_axis if len(sizes) == 3 else None
        direction = self.R.normal(size=len(sizes))
        if across is not None:
            direction[across] = 0
        direction = direction / math.sqrt(sum(direction**2))
        distance = self.between(self.frequency)
        cycles = [
            max(-(size // 2), min((size - 1) // 2, round(float(part) * distance * size / 2)))
            for part, size in zip(direction, sizes, strict=True)
        ]
        return {
            "cycles": cycles,
            "percent": self.between(self.percent),
            "phase": float(self.R.uniform(0, 2 * math.pi)),
            "slice": None if across is None else [across, int(self.R.randint(0, sizes[across]))],
        }


def plane_wave(sizes: Sequence[int], cycles: Sequence[int], phase: float, device: torch.device) -> torch.Tensor:
    """A wave of amplitude 1 with so many cycles along each axis, complex64; ``phase`` in rad at the first voxel."""
    wave = torch.polar(torch.ones(()), torch.tensor(phase))
    for axis, (size, number) in enumerate(zip(sizes, cycles, strict=True)):
        angle = 2 * math.pi * number / size * torch.arange(size, dtype=torch.float64)
        wave = wave * along(torch.polar(torch.ones_like(angle), angle).to(torch.complex64), axis, len(sizes))
    return wave.to(device)


class KSpaceSpikesd(Degradationd):
    """:class:`KSpaceSpikes` on entries of an item; settings are its own."""

    array_form = KSpaceSpikes
