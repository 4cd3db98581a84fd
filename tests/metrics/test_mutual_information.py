from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import normalized_mutual_information

from medtrans import metrics


def transcribed(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mutual information from the joint probabilities, and Studholme's ratio."""
    joint, _, _ = np.histogram2d(x.ravel(), y.ravel(), 64)
    joint /= joint.sum()
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    information = (joint[there] * np.log(joint[there] / product[there])).sum()
    entropy = -(joint[there] * np.log(joint[there])).sum()
    return information, (entropy + information) / entropy


def test_both_agree_with_the_definition_and_scikit_image(pair):
    prediction, reference, mask = pair.tensors()
    information, ratio = transcribed(pair.prediction, pair.reference)
    assert metrics.MutualInformation()(prediction, reference, data_range=1.0).item() == pytest.approx(information)
    value = metrics.NormalisedMutualInformation()(prediction, reference, data_range=1.0).item()
    assert value == pytest.approx(ratio)
    assert value == pytest.approx(normalized_mutual_information(pair.reference, pair.prediction, bins=64))
    inside = pair.mask > 0
    masked = metrics.MutualInformation()(prediction, reference, data_range=1.0, mask=mask).item()
    assert masked == pytest.approx(transcribed(pair.prediction[inside], pair.reference[inside])[0])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(16)), scale=st.floats(0.01, 1e4))
def test_information_survives_any_invertible_mapping_of_grey_values(seed, order, scale):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 16, size=(1, 1, 24, 24))
    y = (x + generator.integers(0, 3, size=x.shape)) % 16
    mapped = np.asarray(order)[x] * scale
    x, y, mapped = (torch.tensor(image, dtype=torch.float64) for image in (x, y, mapped))
    for metric in (metrics.MutualInformation(), metrics.NormalisedMutualInformation()):
        before, after = metric(x, y, data_range=16.0), metric(mapped, y, data_range=16.0)
        assert after.item() == pytest.approx(before.item(), abs=1e-9)
        assert metric(y, x, data_range=16.0).item() == pytest.approx(before.item(), abs=1e-9)


def test_independent_images_share_almost_nothing():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 1, 256, 256, generator=generator) for _ in range(2))
    value = metrics.MutualInformation()(x, y, data_range=1.0).item()
    assert value == pytest.approx(63**2 / (2 * 256**2), rel=0.1)  # the known bias of the estimate
    assert metrics.NormalisedMutualInformation()(x, y, data_range=1.0).item() == pytest.approx(1, abs=0.01)


def test_constant_images_have_no_ratio():
    flat = torch.ones(1, 1, 8, 8)
    assert metrics.MutualInformation()(flat, flat, data_range=2.0).item() == 0
    assert torch.isnan(metrics.NormalisedMutualInformation()(flat, flat, data_range=2.0)).all()
