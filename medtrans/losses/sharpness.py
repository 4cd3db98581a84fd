"""Sharpness: the output is as sharp as the target, place by place, low contrast included (the review's L5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medtrans.losses.averages import inside_body, weighted_mean
from medtrans.losses.observed import Observed
from medtrans.losses.terms import LossTerm
from medtrans.metrics.base import at_window_centres
from medtrans.metrics.windows import filtered, gaussian

SIZE, SIGMA = 7, 1.5
FLAT = 1e-3  # gradients of a flat region, on the scale of [-1, 1] a voxel


class LocalSharpness(nn.Module):
    """√(Gaussian mean of |∇I|² + ε²): the steepness of an image around every position, ``(B, C, *spatial)``.

    The Tenengrad focus measure (Tenenbaum 1970) with central differences, in a window of 7 voxels, σ 1.5. Positions
    where the window does not fit are left out: 4 voxels at every border.
    """

    def forward(self, image: Tensor) -> list[Tensor]:
        """One map, in units of the [-1, 1] scale a voxel; ε = 0.001 keeps its gradient finite in flat regions."""
        energy = image.new_zeros(())
        for axis in range(2, image.ndim):
            length = image.shape[axis]
            slope = (image.narrow(axis, 2, length - 2) - image.narrow(axis, 0, length - 2)) / 2
            for other in set(range(2, image.ndim)) - {axis}:
                slope = slope.narrow(other, 1, image.shape[other] - 2)
            energy = energy + slope.square()
        with torch.autocast(image.device.type, enabled=False):
            return [(filtered(energy, gaussian(SIZE, SIGMA)) + FLAT**2).sqrt()]


class Sharpness(LossTerm):
    """mean_p (S(G(y))_p − S(x)_p)² of a map of sharpness S (Yi and Babyn 2018, low-dose CT).

    The paper's S is a network trained to see sharpness; its weights are not public. Give one of your own as
    ``detector``; by default S is measured: :class:`LocalSharpness`.

    Args:
        weight: factor in the generator's total.
        masked: the mean over positions in the body.
        detector: image -> list of one map ``(B, C', *spatial)``, such as :class:`medtrans.networks.FrozenNetwork`.
    """

    def __init__(self, weight: float = 1.0, masked: bool = False, detector: nn.Module | None = None) -> None:
        super().__init__(weight)
        self.masked, self.detector = masked, detector or LocalSharpness()

    def prepare(self) -> None:
        """Load the detector's weights, where it has any to load."""
        load = getattr(self.detector, "load", None)
        if callable(load):
            load()

    def forward(self, candidate: Observed, target: Observed) -> Tensor:
        """0 for identical images, and for images that differ by a constant."""
        if min(target.image.shape[2:]) < SIZE + 2 and isinstance(self.detector, LocalSharpness):
            raise ValueError(f"Sharpness needs at least {SIZE + 2} voxels along every axis")
        (found,), (wanted,) = candidate.features(self.detector), target.features(self.detector)
        inside = inside_body(target.mask, found, "Sharpness") if self.masked else None
        return weighted_mean((found - wanted.detach()).square(), at_window_centres(inside, found.shape[2:]))
