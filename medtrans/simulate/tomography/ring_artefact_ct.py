"""Ring artefacts in CT: detector channels whose gain is off."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from medtrans.simulate.degradation import Degradationd, Parameters, Range, limits
from medtrans.simulate.tomography.ct import CTDegradation
from medtrans.simulate.tomography.projector import ParallelBeam


class RingArtefactCT(CTDegradation):
    """A CT scan by a detector some of whose channels count a few per cent too much or too little.

    A channel sees rays at one distance from the axis, from all sides of a full turn: a gain that is off by g adds
    ``-ln(1 + g)`` to them, which becomes a ring of that radius. It lies in the slices of the channel's own row.

    Args:
        channels: how many are off, rounded.
        gain: by how many per cent, up or down.
        radius: mm from the axis, at most the half of the slice's shorter side.
        rows: of the detector; a channel meets every so many-th slice.
        views, window: see :class:`~medtrans.simulate.tomography.ct.CTDegradation`.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        channels: Range = (2, 6),
        gain: Range = (0.5, 3.0),
        radius: Range = (0.0, 100.0),
        rows: int = 1,
        views: int | None = None,
        window: str = "hann",
    ) -> None:
        super().__init__(views, window)
        if limits(channels)[0] < 0 or rows < 1:
            raise ValueError(f"a detector has 1 row or more and 0 or more faulty channels, got {rows} and {channels}")
        if limits(radius)[0] < 0:
            raise ValueError(f"a radius is 0 mm or more, got {radius}")
        if not 0 <= limits(gain)[0] <= limits(gain)[1] < 100:
            raise ValueError(f"a gain is off by 0 up to 100 per cent, got {gain}")
        self.channels, self.gain, self.radius, self.rows = channels, gain, radius, rows

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """Place, row and gain of each channel."""
        reach = min(shape[1] * spacing[0], shape[2] * spacing[1]) / 2
        low, high = (min(bound, reach) for bound in limits(self.radius))
        faults = [
            {
                "offset_mm": self.between((low, high)) * self._sign(),
                "gain_percent": self.between(self.gain) * self._sign(),
                "row": int(self.R.randint(self.rows)),
            }
            for _ in range(round(self.between(self.channels)))
        ]
        return self.reference(shape) | {"faults": faults, "rows": self.rows}

    def _sign(self) -> int:
        return 1 if self.R.rand() < 0.5 else -1

    def change(
        self, attenuation: torch.Tensor, first: int, beam: ParallelBeam, parameters: Parameters, **beside: torch.Tensor
    ) -> torch.Tensor:
        """The error of each channel, in all views; over a full turn it is seen from both sides."""
        slices = torch.arange(first, first + attenuation.shape[-1], device=attenuation.device)
        errors = attenuation.new_zeros(beam.bins, len(slices))
        for fault in parameters["faults"]:
            channel = math.floor(fault["offset_mm"] / beam.bin_mm + beam.bins / 2)
            met = slices % parameters["rows"] == fault["row"]
            errors[min(max(channel, 0), beam.bins - 1)] -= math.log1p(fault["gain_percent"] / 100) * met
        both = (errors + errors.flip(0)) / 2
        return both.expand(len(attenuation), len(beam.angles), -1, -1)


class RingArtefactCTd(Degradationd):
    """:class:`RingArtefactCT` of entries of an item."""

    array_form = RingArtefactCT
