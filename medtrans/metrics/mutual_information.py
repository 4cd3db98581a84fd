"""Mutual information of two images from their joint histogram: blind to what unit either is in."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from medtrans.metrics.base import ImageMetric, Masks

BINS = 64


class _JointHistogram(ImageMetric):
    """A metric of the joint histogram: ``BINS`` equal bins over each image's own values inside the mask.

    The mean over channels. The estimate is biased upwards by about (bins - 1)² / 2N nats for N voxels (0.03 for
    256 × 256): compare only values from regions of the same size.
    """

    higher_is_better = True

    @abstractmethod
    def of_entropies(self, first: Tensor, second: Tensor, joint: Tensor) -> Tensor:
        """The value from the two marginal entropies and the joint one, in nats."""

    def measure(self, prediction: Tensor, reference: Tensor, width: float, masks: Masks) -> list[Tensor]:
        """Image by image, channel by channel."""
        return [self._in_mask(prediction, reference, mask) for mask in masks]

    def _in_mask(self, prediction: Tensor, reference: Tensor, mask: Tensor | None) -> Tensor:
        values = []
        for index in range(len(prediction)):
            pairs = zip(prediction[index], reference[index], strict=True)
            if mask is not None:
                inside = mask[index, 0]
                pairs = zip(prediction[index][:, inside], reference[index][:, inside], strict=True)
            values.append(torch.stack([self._of_pair(x.flatten(), y.flatten()) for x, y in pairs]).mean())
        return torch.stack(values)

    def _of_pair(self, x: Tensor, y: Tensor) -> Tensor:
        if not len(x):
            return x.new_tensor(torch.nan)
        counts = torch.bincount(_bin(x) * BINS + _bin(y), minlength=BINS**2).view(BINS, BINS)
        return self.of_entropies(*(_entropy(part.to(x)) for part in (counts.sum(1), counts.sum(0), counts.flatten())))


class MutualInformation(_JointHistogram):
    """Mutual information in nats (Welander et al. 2018 report it for MR)."""

    name, title, unit, order = "mi", "MI", "nats", 71
    definition = "Mutual information of the joint histogram, 64 bins over each image's own values, in nats."

    def of_entropies(self, first: Tensor, second: Tensor, joint: Tensor) -> Tensor:
        """H(x) + H(y) − H(x, y)."""
        return first + second - joint


class NormalisedMutualInformation(_JointHistogram):
    """Studholme's normalised mutual information: 1 for independent, 2 for identical images."""

    name, title, order = "nmi", "NMI", 70
    definition = "Normalised mutual information (Studholme 1999), (H(x) + H(y)) / H(x, y), 64 bins; from 1 to 2."

    def of_entropies(self, first: Tensor, second: Tensor, joint: Tensor) -> Tensor:
        """(H(x) + H(y)) / H(x, y); NaN where both images are constant."""
        return (first + second) / joint


def _bin(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    scale = torch.where(high > low, BINS / (high - low), 0.0)
    return ((values - low) * scale).long().clamp(max=BINS - 1)


def _entropy(counts: Tensor) -> Tensor:
    shares = counts[counts > 0] / counts.sum()
    return -(shares * torch.log(shares)).sum()
