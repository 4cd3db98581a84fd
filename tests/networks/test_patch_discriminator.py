"""The PatchGAN: receptive field measured by gradient, spectral norm, feature maps."""

import pytest
import torch

from medtrans.networks import PatchDiscriminator

AFFINE_FREE = ("instance", {"affine": False})


def receptive_field(discriminator, size):
    """Extent of the input pixels that one logit in the middle depends on (norms excluded: they see the whole map)."""
    image = torch.randn(1, 1, size, size, requires_grad=True)
    logits = discriminator(image)[-1]
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    touched = image.grad[0, 0].abs() > 0
    return int(touched.any(1).sum()), int(touched.any(0).sum())


@pytest.mark.parametrize(("layers", "extent"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field_measured_by_gradient(layers, extent):
    torch.manual_seed(0)
    assert receptive_field(PatchDiscriminator(2, 1, channels=8, layers=layers, norm=None), 160) == (extent, extent)


def test_parameter_counts_equal_the_reference_implementation():
    counts = [
        sum(p.numel() for p in PatchDiscriminator(2, c, layers=n, norm=AFFINE_FREE).parameters())
        for c, n in ((1, 1), (2, 1), (1, 3), (2, 3))
    ]
    assert counts == [134_337, 135_361, 2_762_689, 2_763_713]


def test_medgan_discriminator_returns_two_hidden_layers_and_a_126x126_map():
    shapes = [tuple(x.shape[1:]) for x in PatchDiscriminator(2, 2, spectral=True)(torch.randn(1, 2, 256, 256))]
    assert shapes == [(64, 128, 128), (128, 127, 127), (1, 126, 126)]


def test_spectral_norm_makes_the_largest_singular_value_one():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(2, 2, channels=8, spectral=True).train()
    for _ in range(60):  # the power iteration runs once in each forward pass in training mode
        discriminator(torch.randn(1, 2, 16, 16))
    convolutions = [m for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 3
    for convolution in convolutions:
        largest = torch.linalg.svdvals(convolution.weight.flatten(1))[0]
        assert largest.item() == pytest.approx(1.0, abs=2e-2)


def test_spectral_norm_stands_still_in_evaluation_mode():
    torch.manual_seed(0)
    discriminator, image = PatchDiscriminator(2, 2, channels=8, spectral=True).eval(), torch.randn(1, 2, 16, 16)
    assert torch.equal(discriminator(image)[-1], discriminator(image)[-1])


def test_works_in_3d():
    assert PatchDiscriminator(3, 3, channels=4)(torch.randn(1, 3, 16, 16, 16))[-1].shape == (1, 1, 6, 6, 6)
