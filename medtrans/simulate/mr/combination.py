"""One image from what several coils measured."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch

from medtrans.simulate.mr.coils import CoilArray
from medtrans.simulate.mr.encoding import Encoding

COMBINATIONS = ("root sum of squares", "matched", "cg-sense")


def combined(
    measured: Iterable[torch.Tensor], encoding: Encoding, array: CoilArray, how: str, iterations: int
) -> torch.Tensor:
    """The magnitude image.

    Args:
        measured: the samples of one coil after the other.
        encoding: how they were made.
        array: the coils.
        how: one of :data:`COMBINATIONS`.
        iterations: of ``cg-sense``.
    """
    if how == "root sum of squares":
        return _total(encoding.reconstruct(samples).abs() ** 2 for samples in measured).sqrt()
    make = encoding.adjoint if how == "cg-sense" else encoding.reconstruct
    matched = _total(array.sensitivity(coil).conj() * make(samples) for coil, samples in enumerate(measured))
    return (_least_squares(matched, encoding, array, iterations) if how == "cg-sense" else matched).abs()


def _total(images: Iterable[torch.Tensor]) -> torch.Tensor:
    """Their sum, one in memory at a time."""
    return reduce(torch.add, images)


def _least_squares(matched: torch.Tensor, encoding: Encoding, array: CoilArray, iterations: int) -> torch.Tensor:
    """The image that explains all samples best, by conjugate gradients on the normal equations, from 0 on."""

    def measured_again(image: torch.Tensor) -> torch.Tensor:
        sensitivities = map(array.sensitivity, range(array.number))
        return _total(seen.conj() * encoding.adjoint(encoding.sample(seen * image)) for seen in sensitivities)

    image, residual = torch.zeros_like(matched), matched
    direction, energy = residual, _energy(residual)
    for _ in range(iterations):
        step = measured_again(direction)
        curvature = (direction.conj() * step).real.flatten(1).sum(1).reshape(energy.shape)
        length = energy / curvature.clamp(min=torch.finfo(torch.float32).tiny)
        image, residual = image + length * direction, residual - length * step
        new_energy = _energy(residual)
        direction = residual + new_energy / energy.clamp(min=torch.finfo(torch.float32).tiny) * direction
        energy = new_energy
    return image


def _energy(image: torch.Tensor) -> torch.Tensor:
    """Sum of squares of each channel, ``(C, 1, 1[, 1])``."""
    return (image.abs() ** 2).flatten(1).sum(1).reshape(-1, *[1] * (image.ndim - 1))
