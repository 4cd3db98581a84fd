"""Pairs of random images with a mask, and a check of gradients in double precision."""

import pytest
import torch

from medtrans.losses import Observed


def _pair(shape=(2, 1, 12, 14), dtype=torch.float64, seed=0, discriminator=None, source_channels=1):
    """Candidate and target with values in [-1, 1], a source, and the same mask for both."""
    generator = torch.Generator().manual_seed(seed)
    image, target = (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1 for _ in range(2))
    source = torch.rand((shape[0], source_channels, *shape[2:]), generator=generator, dtype=dtype) * 2 - 1
    mask = (torch.rand((shape[0], 1, *shape[2:]), generator=generator) > 0.4).to(dtype)
    return (
        Observed(image, source, mask, discriminator),
        Observed(target, source, mask, discriminator, constant=True),
    )


def _gradient_is_right(term, candidate, target, fast=False):
    """Whether the gradient of ``term`` to the candidate agrees with finite differences in float64."""

    def loss(image):
        return term(Observed(image, candidate.source, candidate.mask, candidate.discriminator), target)

    image = candidate.image.detach().double().requires_grad_()
    return torch.autograd.gradcheck(loss, image, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=fast)


@pytest.fixture(scope="session")
def pair():
    return _pair


@pytest.fixture(scope="session")
def gradient_is_right():
    return _gradient_is_right
