"""Mutual information of source and output over a validation: NumPy's histogram, in the body only."""

import numpy as np
import pytest
import torch

from medtrans.engines import SourceInformation


@pytest.fixture
def information(measured):
    metric = SourceInformation()
    return lambda sources, synthetic: measured({"information": metric}, image=sources, pred=synthetic)["information"]


def heads(count=8, size=24, seed=0):
    """Random images in a body of a third of the picture, background -1."""
    images = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed)) * 1.8 - 0.9
    images[..., : size // 3] = -1
    return images


def test_it_is_that_of_numpys_histogram_of_the_voxels_of_the_body(information):
    sources = heads()
    synthetic = (-(sources**3) + 0.1 * torch.randn(sources.shape)).clamp(-1, 1)
    body = sources.numpy() > -0.95
    counts, *_ = np.histogram2d(sources.numpy()[body], synthetic.numpy()[body], bins=32, range=[[-1, 1]] * 2)
    joint = counts / counts.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    expected = (joint[there] * np.log(joint[there] / apart[there])).sum()
    assert information(sources, synthetic) == pytest.approx(expected, rel=1e-3)


def test_whatever_keeps_the_anatomy_shares_much_and_other_patients_images_share_nothing(information):
    sources = heads()
    inverted = information(sources, -sources)
    assert inverted == pytest.approx(information(sources, sources), rel=0.02)
    assert inverted > 3
    assert information(sources, heads(seed=1)) < 0.3  # the bias of few voxels: 31² / 2N
    assert information(sources, torch.zeros_like(sources)) == pytest.approx(0, abs=1e-9)


def test_background_does_not_count(information):
    sources = heads()
    changed = sources.clone()
    changed[sources == -1] = torch.rand(int((sources == -1).sum())) * 2 - 1
    assert information(sources, changed) == pytest.approx(information(sources, sources))


def test_images_without_a_body_share_nothing(information):
    assert information(torch.full((2, 1, 4, 4), -1.0), torch.rand(2, 1, 4, 4)) == 0
