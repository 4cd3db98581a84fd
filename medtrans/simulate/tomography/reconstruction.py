"""From sinograms to slices: filtered backprojection, and expectation maximisation with ordered subsets."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from medtrans.simulate.tomography.projector import ParallelBeam

#: name of a window -> its factor at a share (0..1) of the cutoff frequency
WINDOWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "ramp": torch.ones_like,
    "shepp-logan": lambda share: torch.sinc(share / 2),
    "cosine": lambda share: torch.cos(math.pi / 2 * share),
    "hamming": lambda share: 0.54 + 0.46 * torch.cos(math.pi * share),
    "hann": lambda share: 0.5 + 0.5 * torch.cos(math.pi * share),
}
SMALLEST = 1e-10  # of a divisor, as a share of its largest value


def filtered_backprojection(
    beam: ParallelBeam, sinogram: torch.Tensor, window: str = "hann", cutoff: float = 1.0
) -> torch.Tensor:
    """The slices that line integrals came from (Kak and Slaney, Principles of Computerized Tomographic Imaging, ch. 3).

    The ramp is sampled in space (their equation 61), so that the mean of a slice is right.

    Args:
        beam: the geometry; views not in even steps are weighted by the angle to their neighbours.
        sinogram: ``(C, views, bins[, Z])`` in value·mm.
        window: on the ramp, one of :data:`WINDOWS`.
        cutoff: where the window ends, as a share of the bins' Nyquist frequency, 0..1.

    Returns:
        ``(C, X, Y[, Z])`` in value; what a slice has outside the detector is not there.

    Raises:
        ValueError: an unknown window, or a cutoff that is none.
    """
    if window not in WINDOWS or not 0 < cutoff <= 1:
        raise ValueError(f"the window is one of {', '.join(WINDOWS)} up to a share of 1, got {window!r} and {cutoff}")
    padded = 2 ** math.ceil(math.log2(2 * beam.bins))
    ramp = _ramp(padded, beam.bin_mm).to(sinogram.device)
    share = torch.linspace(0, 1, len(ramp), device=sinogram.device) / cutoff
    ramp = torch.where(share <= 1, ramp * WINDOWS[window](share), torch.zeros_like(ramp))
    spectrum = torch.fft.rfft(sinogram.float(), n=padded, dim=2)
    ramp = ramp.reshape(-1, *[1] * (sinogram.ndim - 3))
    filtered = torch.fft.irfft(spectrum * ramp, n=padded, dim=2)[:, :, : beam.bins]
    weights = torch.from_numpy(_angle_steps(beam.angles)).to(filtered)
    filtered = filtered * weights.reshape(-1, *[1] * (sinogram.ndim - 2))
    # the transpose gives the mean under a pixel's shadow, times pixel area over bin width
    return beam.backproject(filtered) * (beam.bin_mm / (beam.spacing[0] * beam.spacing[1]))


def osem(
    beam: ParallelBeam,
    counts: torch.Tensor,
    factor: torch.Tensor | float = 1.0,
    background: torch.Tensor | float = 0.0,
    iterations: int = 4,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Slices by maximum likelihood of Poisson counts, with the ordered subsets of ``beam``; one subset is plain MLEM.

    ``counts ~ Poisson(factor · project(image) + background)``; update of a subset: ``image · Aᵀ(counts / expected) /
    Aᵀ 1`` (Shepp and Vardi 1982; Hudson and Larkin, IEEE Trans. Med. Imaging 13:601, 1994; ordinary Poisson form).

    Args:
        beam: the geometry, with its subsets.
        counts: ``(C, views, bins[, Z])``, 0 or more.
        factor: attenuation, sensitivity and time: counts a bin for each value·mm; broadcasts to ``counts``.
        background: expected randoms and scatter; broadcasts to ``counts``.
        iterations: over all subsets.
        start: the image before the first update, above 0; None is uniform with the right number of counts.

    Returns:
        ``(C, X, Y[, Z])`` in the unit that ``factor`` refers to, 0 or more; where no ray passes it is 0.
    """
    factors = torch.as_tensor(factor, dtype=torch.float32, device=counts.device).expand_as(counts)
    backgrounds = torch.as_tensor(background, dtype=torch.float32, device=counts.device).expand_as(counts)
    subsets = [slice(number, None, beam.subsets) for number in range(beam.subsets)]
    sensitivities = [beam.backproject(factors[:, views], number) for number, views in enumerate(subsets)]
    seen = torch.stack(sensitivities).sum(0) > 0
    image = _uniform(beam, counts, factors, backgrounds, seen) if start is None else start.float()
    for _ in range(iterations):
        for number, views in enumerate(subsets):
            expected = factors[:, views] * beam.project(image, number) + backgrounds[:, views]
            ratio = torch.where(expected > 0, counts[:, views] / expected, 0.0)
            sensitivity = sensitivities[number]
            update = beam.backproject(factors[:, views] * ratio, number) / sensitivity.clamp_min(
                SMALLEST * sensitivity.max()
            )
            image = torch.where(sensitivity > 0, image * update, image)
    return image * seen


def _uniform(
    beam: ParallelBeam,
    counts: torch.Tensor,
    factor: torch.Tensor,
    background: torch.Tensor,
    seen: torch.Tensor,
) -> torch.Tensor:
    """A flat image that expects as many counts as there are, slice by slice."""
    flat = seen.float()
    expected = (factor * beam.project(flat)).sum((1, 2), keepdim=True)
    measured = (counts - background).sum((1, 2), keepdim=True)
    level = measured.clamp_min(0.01 * counts.sum((1, 2), keepdim=True)) / expected.clamp_min(SMALLEST)
    return flat * level


def _ramp(length: int, step: float) -> torch.Tensor:
    """|frequency| of ``length`` samples ``step`` mm apart, as the Fourier transform of the band-limited ramp."""
    at = np.fft.fftfreq(length, 1 / length)
    odd = at % 2 == 1
    kernel = np.zeros(length)
    kernel[0] = 0.25
    kernel[odd] = -1 / (np.pi * at[odd]) ** 2
    return torch.from_numpy(np.fft.rfft(kernel).real / step).float()


def _angle_steps(angles: np.ndarray) -> np.ndarray:
    """The share of half a turn, in radians, that each view stands for: half way to its neighbours."""
    order = np.argsort(angles % np.pi)
    sorted_angles = (angles % np.pi)[order]
    gaps = np.diff(sorted_angles, append=sorted_angles[0] + np.pi)
    steps = np.empty(len(angles))
    steps[order] = (gaps + np.roll(gaps, 1)) / 2
    return steps
