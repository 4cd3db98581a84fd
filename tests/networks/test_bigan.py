"""BiGAN: encoder, generator and joint discriminator fit each other at every size of image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans.networks import BiGAN, BiGANDiscriminator

THIN = {"channels": (4, 8, 8), "code": 12}


@pytest.mark.parametrize("size", [64, 128, 256])
def test_default_networks_work_from_64_to_256_pixels(size):
    network, discriminator = BiGAN(2, 1, [size, size]), BiGANDiscriminator(2, 1, [size, size])
    image = torch.randn(2, 1, size, size)
    code = network(image, to="code")
    *hidden, logits = discriminator(image, code)
    assert code.shape == (2, 200, 1, 1)
    assert logits.shape == (2, 1)
    assert [tuple(h.shape[1:]) for h in hidden] == [
        (c, size // 2**n, size // 2**n) for n, c in enumerate((32, 64, 128, 256, 256), 1)
    ]


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 3), st.integers(1, 2), st.lists(st.integers(8, 30), min_size=3, max_size=3))
def test_any_size_in_2d_and_3d(dims, channels, sizes):
    size = sizes[:dims]
    network, discriminator = BiGAN(dims, channels, size, **THIN), BiGANDiscriminator(dims, channels, size, **THIN)
    image, code = torch.randn(2, channels, *size), torch.randn(2, 12, *[1] * dims)
    assert network(image).shape == image.shape
    assert network(code, of="code").shape == image.shape
    assert network(image).abs().max() <= 1
    assert discriminator(image, code)[-1].shape == (2, 1)


def test_a_reconstruction_is_the_generated_image_of_its_code():
    torch.manual_seed(0)
    network, image = BiGAN(2, 1, [30, 21], **THIN).eval(), torch.randn(2, 1, 30, 21)
    assert torch.equal(network(image), network(network(image, to="code"), of="code"))


def test_the_code_is_linear_so_that_it_may_take_any_value():
    torch.manual_seed(0)
    network = BiGAN(2, 1, [16, 16], **THIN)
    assert isinstance(list(network.encoder)[-1], torch.nn.Conv2d)


def test_the_discriminator_looks_at_image_and_code_together():
    """The effect of the code depends on the image: a sum of two separate verdicts would not."""
    torch.manual_seed(0)
    discriminator = BiGANDiscriminator(2, 1, [16, 16], **THIN, spectral=False).double().eval()
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(10)
    (x, y), (z, w) = torch.randn(2, 1, 1, 16, 16).double(), torch.randn(2, 1, 12).double()

    def verdict(image, code):
        return discriminator(image, code)[-1].item()

    assert abs(verdict(x, z) - verdict(x, w)) > 1e-6
    assert abs(verdict(x, z) - verdict(y, z)) > 1e-6
    assert abs(verdict(x, z) - verdict(x, w) - verdict(y, z) + verdict(y, w)) > 1e-6


def test_features_alone_come_from_images_of_any_size():
    discriminator, image = BiGANDiscriminator(2, 1, [16, 16], **THIN), torch.randn(1, 1, 37, 22)
    assert [tuple(f.shape[1:]) for f in discriminator(image)] == [(4, 20, 12), (8, 10, 6), (8, 5, 3)]


def test_every_layer_of_the_discriminator_is_spectrally_normalised():
    discriminator = BiGANDiscriminator(2, 1, [16, 16], **THIN).train()
    for _ in range(80):
        discriminator(torch.randn(1, 1, 16, 16), torch.randn(1, 12))
    layers = [m for m in discriminator.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    largest = [torch.linalg.svdvals(layer.weight.detach().flatten(1))[0].item() for layer in layers]
    assert largest == pytest.approx([1.0] * (3 + 5), abs=3e-2)


def test_networks_can_be_scripted_for_export():
    network, image = BiGAN(2, 1, [30, 21], **THIN).eval(), torch.randn(1, 1, 30, 21)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))


def test_too_many_steps_for_the_image_are_refused():
    for network in (BiGAN, BiGANDiscriminator):
        with pytest.raises(ValueError, match="cannot be halved 5 times"):
            network(2, 1, [16, 16])
    with pytest.raises(ValueError, match="image or code"):
        BiGAN(2, 1, [16, 16], **THIN)(torch.zeros(1, 1, 16, 16), to="label")
    with pytest.raises(ValueError, match="image or code"):
        BiGAN(2, 1, [16, 16], **THIN)(torch.zeros(1, 1, 16, 16), of="label")
