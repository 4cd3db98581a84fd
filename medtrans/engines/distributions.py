"""How far the synthetic images of a validation are, as a set, from real ones: no pairs are needed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from ignite.metrics import EpochMetric
from monai.metrics import FIDMetric, MMDMetric
from monai.networks.utils import eval_mode
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from medtrans.engines.diversity import SYNTHETIC_AND_REAL
from medtrans.engines.inferers import axis_number

Images = Sequence[Tensor]


class FeatureVectors:
    """One vector an image: what an extractor finds, averaged over space, all layers behind one another.

    A seeded Gaussian projection brings longer vectors to ``dimensions``, because a covariance matrix of 1000 features
    cannot be estimated from 100 images. Several metrics may share one: an image is looked at once.

    Args:
        extractor: image ``(B, C, *spatial)`` -> list of feature maps, as :class:`medtrans.networks.RandomFeatures`,
            :class:`medtrans.networks.BiGANFeatures` or :class:`medtrans.networks.VGG19Features`.
        dimensions: length of the vectors at most.
        axis: for volumes, that slices across ``"axial"``, ``"coronal"``, ``"sagittal"`` or 2, 1, 0 are the images: a
            validation has many slices of few volumes, and extractors for two dimensions are at hand.

    Raises:
        InputError: there is no such axis.
    """

    def __init__(self, extractor: nn.Module, dimensions: int = 64, axis: str | int | None = None) -> None:
        self.extractor, self.dimensions = extractor, int(dimensions)
        self.axis = None if axis is None else axis_number(axis)
        self._known = WeakIdKeyDictionary()

    def __call__(self, images: Images) -> Tensor:
        """``(N, dimensions)`` for N images ``(C, *spatial)`` of one size, or for all slices of volumes of one size."""
        new = [image for image in images if image not in self._known]
        if new:
            slices = [self._images(image) for image in new]
            vectors = self._vectors(torch.cat(slices).float()).split([len(found) for found in slices])
            self._known.update(zip(new, vectors, strict=True))
        return torch.cat([self._known[image] for image in images])

    def _images(self, image: Tensor) -> Tensor:
        """``(1, C, *spatial)``, or ``(slices, C, X, Y)`` of a volume that is looked at slice by slice."""
        return image[None] if self.axis is None else image.movedim(self.axis + 1, 0)

    def _vectors(self, images: Tensor) -> Tensor:
        with torch.no_grad(), eval_mode(self.extractor):
            maps = self.extractor.to(images.device)(images)
        pooled = torch.cat([m.flatten(2).mean(2).unflatten(0, (len(images), -1)).mean(1) for m in maps], 1).double()
        if pooled.shape[1] <= self.dimensions:
            return pooled
        generator = torch.Generator().manual_seed(0)
        shape = pooled.shape[1], self.dimensions
        return pooled @ (torch.randn(shape, generator=generator).to(pooled) / math.sqrt(self.dimensions))


class _BetweenSets(EpochMetric):
    """A distance between two sets of vectors, over a whole validation."""

    def __init__(self, features: FeatureVectors, output_transform: Callable = SYNTHETIC_AND_REAL) -> None:
        super().__init__(
            self.distance,
            lambda output: tuple(features(images) for images in output_transform(output)),
            check_compute_fn=False,
        )

    @staticmethod
    def distance(synthetic: Tensor, real: Tensor) -> float:
        """Between ``(N, F)`` and ``(N, F)``."""
        raise NotImplementedError


class FrechetDistance(_BetweenSets):
    """|μ - μ'|² + tr(Σ + Σ' - 2 √(ΣΣ')) of feature vectors (Heusel 2017), MONAI's ``FIDMetric``.

    The distance of two normal distributions with the means and covariances of the sets; only with Inception's features
    it is the FID of papers. It is biased upwards with few images, the more the longer the vectors: compare values from
    equally many images only. NaN for fewer than two, or where the square root cannot be computed.

    Args:
        features: image -> vector.
        output_transform: the evaluator's output -> two lists of images ``(C, *spatial)``.
    """

    @staticmethod
    def distance(synthetic: Tensor, real: Tensor) -> float:
        """Fréchet's distance between normal distributions."""
        if min(len(synthetic), len(real)) < 2:
            return math.nan
        with warnings.catch_warnings():  # SciPy's, of singular matrices: fewer images than features, or collapse
            warnings.simplefilter("ignore")
            try:
                return max(0.0, float(FIDMetric()(synthetic.double(), real.double())))
            except ValueError:  # MONAI: a square root with an imaginary part
                return math.nan


class MeanDiscrepancy(_BetweenSets):
    """|μ - μ'|², without bias (Gretton 2012, eq. 3, linear kernel on the vectors), MONAI's ``MMDMetric``.

    Around 0, also below, where both sets come from one distribution, whatever their number: what to look at where
    images are few. It compares means of features only, and does not see collapse as the Fréchet distance does. NaN for
    fewer than two images.

    Args:
        features: image -> vector.
        output_transform: the evaluator's output -> two lists of images ``(C, *spatial)``.
    """

    @staticmethod
    def distance(synthetic: Tensor, real: Tensor) -> float:
        """The squared distance of the means, estimated without bias."""
        if min(len(synthetic), len(real)) < 2:
            return math.nan
        return float(MMDMetric()(real.double(), synthetic.double()))


def unpaired_score(
    frechet_to_target: float,
    frechet_to_source: float,
    frechet_between: float,
    cycle_error_source: float,
    cycle_error_target: float,
    unrelated_error: float,
) -> float:
    """How good a model is, without pairs: higher is better, 0 perfect, -1 as good as returning the source.

    -mean over directions of √(Fréchet distance / that of source and target images) + (cycle error / mean absolute
    difference of source and somebody else's target). The first part alone would choose a generator that draws
    convincing patients from nowhere, the second alone one that returns the source.

    Args:
        frechet_to_target, frechet_to_source: of the synthetic images of each direction to real ones.
        frechet_between: of real source to real target images.
        cycle_error_source, cycle_error_target: mean absolute error of images there and back.
        unrelated_error: mean absolute difference of source and unrelated target images.
    """
    directions = (frechet_to_target, cycle_error_source), (frechet_to_source, cycle_error_target)
    parts = [math.sqrt(f / frechet_between) + cycle / unrelated_error for f, cycle in directions]
    return -sum(parts) / len(parts)
