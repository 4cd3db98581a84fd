"""Pairs of smooth random images in [0, 1] with a mask, in 2D and 3D."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter


class Pair(NamedTuple):
    prediction: np.ndarray
    reference: np.ndarray
    mask: np.ndarray

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return tuple(torch.tensor(array)[None, None] for array in self)


def smooth_pair(shape: tuple[int, ...], seed: int = 0) -> Pair:
    generator = np.random.default_rng(seed)
    reference = gaussian_filter(generator.normal(size=shape), 3)
    reference = (reference - reference.min()) / (reference.max() - reference.min())
    noise = gaussian_filter(generator.normal(size=shape), 1)
    prediction = np.clip(0.9 * reference + 0.05 * noise, 0, 1)
    mask = np.zeros(shape)
    mask[tuple(slice(6, length - 9) for length in shape)] = 1
    return Pair(prediction, reference, mask)


@pytest.fixture(scope="session", params=[(83, 76), (46, 51, 44)], ids=["2D", "3D"])
def pair(request) -> Pair:
    return smooth_pair(request.param)


@pytest.fixture(scope="session")
def pair_2d() -> Pair:
    return smooth_pair((96, 101), seed=3)


@pytest.fixture(scope="session", params=["2D", "3D"])
def batch(request) -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of three channels each, as tensors."""
    shape = (64, 60) if request.param == "2D" else (44, 45, 42)
    pairs = [smooth_pair(shape, seed) for seed in range(6)]
    stacked = [np.stack([pair[index] for pair in pairs]).reshape(2, 3, *shape) for index in range(2)]
    return torch.tensor(stacked[0]), torch.tensor(stacked[1])
