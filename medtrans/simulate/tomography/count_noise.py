"""The noise that fewer counts add to a PET image, from the image itself: nothing is counted or reconstructed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from medtrans.simulate.tomography.counts import Coincidences
from medtrans.simulate.tomography.projector import ParallelBeam

RATES = np.geomspace(1e-6, 10, 57)  # 1/mm, of the table between which voxels are interpolated


def added_noise(
    beam: ParallelBeam,
    image: torch.Tensor,
    expected: Iterable[Coincidences],
    parameters: Mapping[str, Any],
    source: torch.Generator,
) -> torch.Tensor:
    """Noise of local variance and correlation, as between a low-count and a full-count reconstruction, unfiltered.

    A bin's noise, as a line integral, has the variance ``v = prompts / factor²`` at 100 % and ``v (1/fraction - 1)``
    between a part and the whole. Reconstructed from views with bins of ``b`` mm it has the spectrum ``π b / views ·
    v · f · T(f)²`` (Kijewski and Judy, Phys. Med. Biol. 32:565, 1987), with v the mean over the lines through a voxel.
    For filtered backprojection T is the window and the shadow of a pixel, ``H(f)``.

    Maximum likelihood weights lines by 1/v, so v is their harmonic mean, and n updates have come as far as ``T =
    (1 - (1 - λ)ⁿ) / H`` with ``λ = H² r / (π f)``: EM is a gradient step of ``activity / sensitivity`` (Barrett, Wilson
    and Tsui, Phys. Med. Biol. 39:833, 1994), and r = activity · mean(1/v) / mean(factor) is how fast a voxel follows.
    So noise is strong where there is much activity, and its distribution is log-normal, as they found. The strength is
    local; the shape is that of the mean voxel.

    Args:
        beam: a geometry of any few views; only the means over them matter.
        image: ``(C, X, Y, Z)``, the full-count image.
        expected: what is counted of the slices at 100 %, in their order, in portions of any size.
        parameters: of a low-count PET: ``fraction, algorithm, iterations, subsets``.
        source: of randomness, on the CPU.

    Returns:
        ``(C, X, Y, Z)`` in the image's unit.
    """
    filtered = parameters["algorithm"] == "fbp"
    updates = 0 if filtered else parameters["iterations"] * parameters["subsets"]
    power = _power(beam, updates)
    lines = beam.backproject(torch.ones(1, *beam.sinogram_shape, 1, device=image.device))
    more = math.pi * beam.bin_mm / len(beam.angles) * (1 / parameters["fraction"] - 1)
    portions, start = [], 0
    for coincidences in expected:
        some = image[..., start : start + coincidences.prompts.shape[-1]]
        start += some.shape[-1]
        if filtered:
            variance, rate = _of_filtered(beam, coincidences, lines), torch.ones_like(some)
        else:
            variance, rate = _of_likelihood(beam, some, coincidences, lines)
        strength = (more * variance * _between(rate, power.mean((1, 2)))).sqrt()
        white = torch.randn(some.shape, generator=source).to(image.device)
        unit = _shaped(white, power[0 if filtered else _typical(rate, strength)])
        portions.append(strength * unit if filtered else _log_normal(some, strength, unit))
    return torch.cat(portions, -1)


def _of_filtered(beam: ParallelBeam, coincidences: Coincidences, lines: torch.Tensor) -> torch.Tensor:
    """The mean variance of the line integrals through each voxel."""
    variance = coincidences.prompts / coincidences.factor.clamp_min(1e-20) ** 2
    return beam.backproject(variance) / lines


def _of_likelihood(
    beam: ParallelBeam, image: torch.Tensor, coincidences: Coincidences, lines: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The harmonic mean of the variances, and how fast a voxel follows (1/mm); both 0 where nothing is counted."""
    prompts, factor = coincidences.prompts, coincidences.factor
    precision = beam.backproject(torch.where(prompts > 0, factor**2 / prompts.clamp_min(1e-20), 0.0))
    variance = torch.where(precision > 0, lines / precision.clamp_min(1e-20), 0.0)
    sensitivity = beam.backproject(factor)
    return variance, image.clamp_min(0) * precision / sensitivity.clamp_min(1e-20)


def _power(beam: ParallelBeam, updates: int) -> torch.Tensor:
    """``f T(f)²`` over a slice's frequencies, for each of :data:`RATES`; once where there are no updates.

    ``(rates or 1, X, Y)``, in units in which the mean is the integral over the frequencies.
    """
    x, y = (np.fft.fftfreq(n, step) for n, step in zip(beam.shape, beam.spacing, strict=True))
    frequency = np.hypot(*np.meshgrid(x, y, indexing="ij"))
    shadow = np.sinc(frequency * beam.bin_mm) * np.outer(np.sinc(x * beam.spacing[0]), np.sinc(y * beam.spacing[1]))
    if updates:
        step = shadow**2 * RATES[:, None, None] / (math.pi * np.maximum(frequency, 1e-9))
        transfer = -np.expm1(updates * np.log1p(-np.minimum(step, 0.999))) / np.maximum(np.abs(shadow), 1e-3)
    else:
        transfer = shadow[None] * (0.5 + 0.5 * np.cos(math.pi * np.minimum(2 * frequency * beam.bin_mm, 1)))
    power = frequency * transfer**2 / math.prod(beam.spacing)
    return torch.from_numpy(power).float().to(beam.device)


def _typical(rate: torch.Tensor, strength: torch.Tensor) -> int:
    """Where the mean rate of the noise stands in :data:`RATES`."""
    mean = float((rate * strength).sum() / strength.sum().clamp_min(1e-20))
    return 0 if mean <= RATES[0] else int(np.abs(np.log(RATES / mean)).argmin())


def _between(rate: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The table's value at each rate, by straight lines over the logarithm; below the least rate it falls to 0."""
    if len(table) == 1:
        return table[0].expand_as(rate)
    place = (rate.clamp_min(1e-30).log() - math.log(RATES[0])) / math.log(RATES[1] / RATES[0])
    low = place.clamp(0, len(table) - 2).floor().long()
    share = (place - low).clamp(0, 1)
    value = torch.lerp(table[low], table[low + 1], share)
    return torch.where(place < 0, value * (rate / RATES[0]) ** 2, value)


def _log_normal(image: torch.Tensor, strength: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """Noise of mean 0 and this standard deviation that takes no more from a voxel than there is."""
    spread = torch.log1p((strength / image.clamp_min(1e-20)).square())
    return torch.where(image > 0, image * torch.expm1(spread.sqrt() * unit - spread / 2), 0.0)


def _shaped(white: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """White noise with this spectrum in its slices, of variance 1."""
    amplitude = (power / power.mean().clamp_min(1e-30)).sqrt()[None, :, : white.shape[2] // 2 + 1, None]
    return torch.fft.irfft2(torch.fft.rfft2(white, dim=(1, 2)) * amplitude, s=white.shape[1:3], dim=(1, 2))
