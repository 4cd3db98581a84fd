"""Distances between sets of images: NumPy's formulas, and what few images do to them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from medtrans import InputError
from medtrans.engines import FeatureVectors, FrechetDistance, MeanDiscrepancy, unpaired_score
from medtrans.networks import RandomFeatures


class Values(nn.Module):
    """Features that are the channels of the image, and a count of what it looked at."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, image):
        self.seen += len(image)
        return [image]


@pytest.fixture
def compared(measured):
    return lambda metrics, synthetic, real, batch=7: measured(metrics, batch, pred=synthetic, label=real)


def sets(count=60, features=5, shift=0.4, seed=0):
    """Two sets of images of 2 × 3 voxels whose means over space are correlated normal vectors."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(features, features))
    vectors = random.normal(size=(count, features)) @ mixing, random.normal(size=(count, features)) + shift
    detail = random.normal(size=(count, features, 2, 3))
    detail -= detail.mean((2, 3), keepdims=True)
    return vectors, [torch.tensor(v[:, :, None, None] + detail) for v in vectors]


def test_the_frechet_distance_is_that_of_numpys_eigenvalues(compared):
    (x, y), images = sets()
    found = compared({"distance": FrechetDistance(FeatureVectors(Values()))}, *images)["distance"]
    covariances = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * root
    assert found == pytest.approx(expected, rel=1e-4)  # feature vectors are in single precision


def test_the_mean_discrepancy_is_grettons_unbiased_sum_over_pairs(compared):
    (x, y), images = sets(count=23)
    found = compared({"distance": MeanDiscrepancy(FeatureVectors(Values()))}, *images)["distance"]
    n = len(x)
    expected = 0.0
    for i in range(n):
        for j in range(n):
            expected += ((x[i] @ x[j] + y[i] @ y[j]) / (n * (n - 1)) if i != j else 0) - 2 * x[i] @ y[j] / n**2
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_few_images_make_the_frechet_distance_of_equal_distributions_large_and_leave_the_discrepancy_at_zero(compared):
    """What the documentation says of small validations."""
    found = {}
    for count in (16, 400):
        frechet, discrepancy = [], []
        for seed in range(12):
            random = np.random.default_rng(seed)
            images = [torch.tensor(random.normal(size=(count, 8, 1, 1))) for _ in range(2)]
            metrics = {"f": FrechetDistance(FeatureVectors(Values())), "m": MeanDiscrepancy(FeatureVectors(Values()))}
            distances = compared(metrics, *images, batch=count)
            frechet.append(distances["f"])
            discrepancy.append(distances["m"])
        found[count] = np.mean(frechet), np.mean(discrepancy), np.std(discrepancy) / math.sqrt(12)
    assert found[16][0] > 8 * found[400][0] > 0
    for mean, error in ((found[n][1], found[n][2]) for n in found):
        assert abs(mean) < 3 * error


def test_collapse_is_seen_by_the_frechet_distance_alone(compared):
    (_, y), (_, real) = sets(count=200)
    collapsed = torch.tensor(np.broadcast_to(y.mean(0)[:, None, None], real.shape).copy())
    metrics = {"f": FrechetDistance(FeatureVectors(Values())), "m": MeanDiscrepancy(FeatureVectors(Values()))}
    found = compared(metrics, collapsed, real)
    assert found["f"] == pytest.approx(np.trace(np.cov(y, rowvar=False)), rel=0.02)
    assert abs(found["m"]) < 0.05 * found["f"]


def test_one_image_has_no_distribution(compared):
    _, images = sets(count=1)
    metrics = {"f": FrechetDistance(FeatureVectors(Values())), "m": MeanDiscrepancy(FeatureVectors(Values()))}
    assert all(math.isnan(value) for value in compared(metrics, *images).values())


def test_metrics_that_share_features_look_at_an_image_once(compared):
    _, images = sets(count=20)
    shared = FeatureVectors(extractor := Values())
    compared({"f": FrechetDistance(shared), "m": MeanDiscrepancy(shared)}, *images)
    assert extractor.seen == 40


def test_vectors_are_spatial_means_brought_to_a_length_that_keeps_distances():
    images = list(torch.randn(6, 300, 2, 2))
    whole, short = FeatureVectors(Values(), 300)(images), FeatureVectors(Values(), 100)(images)
    torch.testing.assert_close(whole, torch.stack(images).double().mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert short.shape == (6, 100)
    assert torch.pdist(short).mean().item() == pytest.approx(torch.pdist(whole).mean().item(), rel=0.15)
    assert torch.equal(short, FeatureVectors(Values(), 100)(images))


@pytest.mark.parametrize(("axis", "number"), [("sagittal", 0), ("coronal", 1), ("axial", 2), (2, 2)])
def test_of_volumes_every_slice_across_an_axis_is_an_image(axis, number):
    """Those of the slices as images of their own, volume after volume, also of volumes of different sizes in turn."""
    volumes = [torch.rand(2, *shape) for shape in ((8, 9, 10), (8, 9, 10), (7, 12, 8))]
    features, single = FeatureVectors(RandomFeatures(), 64, axis), FeatureVectors(RandomFeatures(), 64)
    found = torch.cat([features(volumes[:2]), features(volumes[2:])])
    slices = [volume.select(number + 1, k) for volume in volumes for k in range(volume.shape[number + 1])]
    expected = torch.cat([single([image]) for image in slices])
    torch.testing.assert_close(found, expected)
    assert torch.equal(features([volumes[1], volumes[0]])[: len(features(volumes[:1]))], features([volumes[1]]))


def test_slices_can_be_cut_across_three_axes_only():
    with pytest.raises(InputError, match="axis 'oblique': does not exist"):
        FeatureVectors(RandomFeatures(), axis="oblique")


def test_the_distance_of_two_sets_of_volumes_is_that_of_all_their_slices(compared):
    volumes = [torch.rand(4, 1, 8, 8, 6), torch.rand(4, 1, 8, 8, 6) * 0.5]
    slices = [v.movedim(4, 1).flatten(0, 1) for v in volumes]
    found = compared({"f": FrechetDistance(FeatureVectors(RandomFeatures(), 8, "axial"))}, *volumes, batch=1)["f"]
    assert found == pytest.approx(compared({"f": FrechetDistance(FeatureVectors(RandomFeatures(), 8))}, *slices)["f"])


@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 8, 9, 10)])
def test_random_features_are_the_same_for_a_seed_in_two_and_three_dimensions(shape):
    images = list(torch.rand(3, *shape))
    dimensions = len(shape) - 1
    first, again, other = (FeatureVectors(RandomFeatures(dimensions, seed=seed))(images) for seed in (0, 0, 1))
    assert first.shape == (3, 64)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_random_features_tell_sharp_images_from_blurred_ones(compared):
    noise = torch.randn(60, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    sharp = nn.functional.avg_pool2d(noise, 3, 1, 1).clamp(-1, 1)
    blurred = nn.functional.avg_pool2d(sharp, 5, 1, 2)
    features = FeatureVectors(RandomFeatures(), 16)
    same = compared({"f": FrechetDistance(features)}, sharp[:30], sharp[30:])["f"]
    assert compared({"f": FrechetDistance(features)}, blurred[:30], sharp[30:])["f"] > 2 * same


def test_the_score_is_zero_for_a_perfect_model_and_minus_one_for_one_that_returns_the_source():
    perfect = unpaired_score(0.0, 0.0, 5.0, 0.0, 0.0, 0.4)
    identity = unpaired_score(5.0, 5.0, 5.0, 0.0, 0.0, 0.4)
    invented = unpaired_score(0.0, 0.0, 5.0, 0.4, 0.4, 0.4)
    assert (perfect, identity, invented) == pytest.approx((0, -1, -1))
    assert unpaired_score(1.25, 0.0, 5.0, 0.0, 0.2, 0.4) == pytest.approx(-0.5)
