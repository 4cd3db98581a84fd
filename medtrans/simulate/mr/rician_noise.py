"""Noise of a magnitude image: complex Gaussian noise before the magnitude is taken."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits, noise_source
from medtrans.simulate.mr.signal_level import signal_level
from medtrans.simulate.mr.smooth_field import smooth_field


class RicianNoise(Degradation):
    """The magnitude of an image with Gaussian noise in its real and its imaginary part.

    For images in the scanner's own units, before any window or normalisation: noise is told against the signal.
    (Gudbjartsson and Patz, Magn Reson Med 34, 1995; several coils: Constantinides et al., Magn Reson Med 38, 1997.)

    Args:
        percent: standard deviation of either part, in % of the signal.
        snr: signal / that standard deviation, in place of ``percent``.
        signal: in the image's units. None: the mean of the foreground of each channel
            (:func:`~medtrans.simulate.mr.signal_level.signal_level`); slices of one volume then differ.
        coils: combined by root sum of squares; more than one make it a non-central chi distribution.
        g_factor: largest amplification of noise by parallel imaging, 1 or more; it varies smoothly from 1 on.
        g_length: length scale of that in mm.

    Raises:
        ValueError: a setting is not positive, or both percent and snr are given.
    """

    def __init__(
        self,
        percent: Range | None = None,
        snr: Range | None = None,
        signal: float | None = None,
        coils: int = 1,
        g_factor: Range = 1.0,
        g_length: float = 50.0,
    ) -> None:
        if percent is not None and snr is not None:
            raise ValueError("noise is told as percent or as snr, not as both")
        if percent is not None and limits(percent)[0] < 0:
            raise ValueError(f"percent is 0 or more, got {percent}")
        if snr is not None and limits(snr)[0] <= 0:
            raise ValueError(f"snr is above 0, got {snr}")
        if signal is not None and signal <= 0:
            raise ValueError(f"signal is above 0, got {signal}")
        if coils < 1 or limits(g_factor)[0] < 1 or g_length <= 0:
            raise ValueError("coils and g_factor are 1 or more, g_length is above 0 mm")
        self.percent = (2.0, 10.0) if percent is None and snr is None else percent
        self.snr, self.signal, self.coils = snr, signal, coils
        self.g_factor, self.g_length = g_factor, g_length

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """The noise in % of the signal, and its seed."""
        percent = 100 / self.between(self.snr) if self.snr is not None else self.between(self.percent or 0.0)
        return {
            "percent": percent,
            "signal": self.signal,
            "coils": self.coils,
            "g_factor": self.between(self.g_factor),
            "g_length": self.g_length,
            "seed": self.new_seed(),
        }

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The noisy magnitude."""
        source = noise_source(parameters)
        level = signal_level(img) if parameters["signal"] is None else parameters["signal"]
        spread = parameters["percent"] / 100 * level * g_factor_map(img.shape, parameters, spacing, img.device)

        def noise() -> torch.Tensor:
            return spread * torch.randn(img.shape, generator=source).to(img.device)

        result = torch.hypot(img + noise(), noise())  # all signal in the first coil: the sum of squares is the same
        for _ in range(parameters["coils"] - 1):
            result = torch.hypot(result, torch.hypot(noise(), noise()))
        return result


def g_factor_map(
    shape: Sequence[int], parameters: Parameters, spacing: Sequence[float], device: torch.device
) -> torch.Tensor:
    """How noise is amplified in an image of ``shape`` ``(C, X, Y[, Z])``: float32 ``(X, Y[, Z])``, from 1 on."""
    if parameters["g_factor"] == 1:
        return torch.ones([*shape[1:]], device=device)
    field = smooth_field(shape[1:], spacing, parameters["g_length"], [parameters["seed"], 1], device)
    return 1 + (parameters["g_factor"] - 1) * (field - field.min())


class RicianNoised(Degradationd):
    """:class:`RicianNoise` on entries of an item; settings are its own."""

    array_form = RicianNoise
