"""From painted tissue to images: mixed signals, texture, coil shading, noise, and the blur of PET."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from medtrans.simulate.phantom.canvas import Canvas
from medtrans.simulate.phantom.fields import Field, along_axes, smooth_field, stream
from medtrans.simulate.phantom.grid import Grid
from medtrans.simulate.phantom.signals import WATER_SIGNAL, Protocol
from medtrans.simulate.phantom.tissues import TISSUES, individual_tissues

TEXTURE = {"T1": 0.020, "T2": -0.030, "PD": -0.010, "FLAIR": -0.022}  # share of the signal, within one tissue
MR_NOISE = {"T1": 0.0045, "T2": 0.006, "PD": 0.006, "FLAIR": 0.005}  # of the signal of water
SHADING, SHADING_SMOOTHNESS = 0.10, 45.0  # standard deviation of the log of the coil sensitivity; mm
CT_TEXTURE, CT_NOISE = 1.2, 8.0  # HU
CT_RANGE = (-1024.0, 3071.0)  # 12 bits
PET_TEXTURE, PET_METABOLISM = 0.05, 0.06  # share of the uptake
PET_RESOLUTION = 5.5  # full width at half maximum of the point spread, mm
PET_NOISE, PET_NOISE_AT, PET_GRAIN = 0.06, 8.0, 4.0  # relative SD at an SUV, and the grain's full width in mm


class Contrast:
    """How one person's tissues look in one examination: the values of every tissue in every modality."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.protocol = Protocol.draw(stream(seed, "protocol"))
        self.tissues = individual_tissues(stream(seed, "tissues"))

    def table(self, modality: str) -> torch.Tensor:
        """What a voxel full of each tissue shows, in the order of the labels; shape (tissues,)."""
        return torch.tensor([self.protocol.value(modality, self.tissues[name]) for name in TISSUES])

    def shading(self, modality: str) -> Field:
        """The log of the coil's sensitivity in one MR image."""
        return smooth_field(SHADING_SMOOTHNESS, stream(self.seed, f"shading {modality}"), 10.0)


def mixed(canvas: Canvas, table: torch.Tensor) -> torch.Tensor:
    """The value of every voxel: its two tissues' values by their shares."""
    main, rest = (table.index_select(0, label.reshape(-1).int()) for label in (canvas.main, canvas.rest))
    return torch.lerp(rest, main, canvas.share.reshape(-1)).view(canvas.share.shape)


def gaussian_noise(shape: Sequence[int], rng: np.random.Generator) -> torch.Tensor:
    """White noise, mean 0, SD 1."""
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def mr_image(signal: torch.Tensor, modality: str, noise: np.random.Generator | None) -> torch.Tensor:
    """Magnitude of signal plus complex noise (Rician), as Gudbjartsson and Patz 1995, doi 10.1002/mrm.1910340618."""
    if noise is None:
        return signal
    deviation = MR_NOISE[modality] * WATER_SIGNAL
    real = gaussian_noise(signal.shape, noise).mul_(deviation).add_(signal)
    return torch.hypot(real, gaussian_noise(signal.shape, noise).mul_(deviation))


def ct_image(numbers: torch.Tensor, noise: np.random.Generator | None) -> torch.Tensor:
    """HU with white noise, in the range of a scanner."""
    if noise is not None:
        numbers = gaussian_noise(numbers.shape, noise).mul_(CT_NOISE).add_(numbers)
    return numbers.clamp(*CT_RANGE)


def blurred(volume: torch.Tensor, grid: Grid, width: float, keep_variance: bool = False) -> torch.Tensor:
    """Convolve with a Gaussian of full width at half maximum ``width`` (mm).

    ``keep_variance`` scales the kernel so that white noise keeps its SD; else constants stay what they are.
    """
    sigma, matrices = width / math.sqrt(8 * math.log(2)), []
    for axis in range(3):
        at = grid.coordinates(axis)
        kernel = torch.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2)
        kernel[kernel < 1e-7] = 0  # subnormal numbers are slow
        norm = kernel.square().sum(1, keepdim=True).sqrt() if keep_variance else kernel.sum(1, keepdim=True)
        matrices.append(kernel / norm)
    return along_axes(volume, matrices)


def pet_image(uptake: torch.Tensor, grid: Grid, noise: np.random.Generator | None) -> torch.Tensor:
    """SUV as a scanner of finite resolution shows it, with a reconstruction's grainy noise (variance ~ activity)."""
    seen = blurred(uptake, grid, PET_RESOLUTION)
    if noise is None:
        return seen
    grain = blurred(gaussian_noise(uptake.shape, noise), grid, PET_GRAIN, keep_variance=True)
    at_one = PET_NOISE * math.sqrt(PET_NOISE_AT)
    return seen.clamp(min=0.05).sqrt_().mul_(grain).mul_(at_one).add_(seen).clamp_(min=0)
