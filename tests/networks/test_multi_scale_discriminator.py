"""UNIT's discriminator: counts and maps of the published ones, one look at each size of the image."""

import pytest
import torch
from torch.nn import functional as F

from medtrans import InputError
from medtrans.networks import MultiScaleDiscriminator


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_of_the_authors_later_discriminator():
    assert parameters(MultiScaleDiscriminator(2, 1, form="later")) == 8_265_027
    assert parameters(MultiScaleDiscriminator(2, 3, form="later")) == 8_271_171


def test_parameter_count_of_the_medical_discriminator():
    one_scale = sum(9 * a * b + b for a, b in ((1, 64), (64, 128), (128, 256), (256, 512))) + 512 + 1
    assert parameters(MultiScaleDiscriminator(2, 1)) == 3 * one_scale


@pytest.mark.parametrize("form", ["medical", "later"])
def test_maps_have_the_published_sizes(form):
    maps = [
        tuple(outputs[-1].shape) for outputs in MultiScaleDiscriminator(2, 1, 4, form=form)(torch.randn(2, 1, 256, 256))
    ]
    assert maps == [(2, 1, 16, 16), (2, 1, 8, 8), (2, 1, 4, 4)]


def receptive_field(discriminator, scale):
    image = torch.randn(1, 1, 512, 512, requires_grad=True)
    logits = discriminator(image)[scale][-1]
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    return int((image.grad[0, 0].abs() > 0).any(1).sum())


def test_receptive_field_measured_by_gradient_doubles_from_scale_to_scale():
    torch.manual_seed(0)
    medical = MultiScaleDiscriminator(2, 1, 4)
    assert [receptive_field(medical, scale) for scale in range(3)] == [31, 62, 124]
    later = MultiScaleDiscriminator(2, 1, 4, form="later")
    # 46 positions of each scale; a mean over 3 of stride 2 sees 2 n + 1 positions for n
    assert [receptive_field(later, scale) for scale in range(3)] == [46, 93, 187]


@pytest.mark.parametrize("form", ["medical", "later"])
def test_each_scale_sees_the_image_averaged_down(form):
    torch.manual_seed(0)
    discriminator, image = MultiScaleDiscriminator(2, 1, 4, layers=2, form=form), torch.randn(1, 1, 32, 32)
    small = (
        F.avg_pool2d(image, 2)
        if form == "medical"
        else F.avg_pool2d(image, 3, 2, 1) * 9 / (9 * F.avg_pool2d(torch.ones_like(image), 3, 2, 1))
    )
    x = small
    for stage in discriminator.scales[1]:
        x = stage(x)
    torch.testing.assert_close(discriminator(image)[1][-1], x)


def test_scales_have_weights_of_their_own():
    discriminator = MultiScaleDiscriminator(2, 1, 4)
    weights = [id(p) for p in discriminator.parameters()]
    assert len(weights) == len(set(weights)) == 3 * 10


def test_works_in_3d_with_norm_and_odd_sizes():
    found = MultiScaleDiscriminator(3, 2, 4, layers=2, scales=2, norm="instance")(torch.randn(1, 2, 21, 18, 25))
    assert [len(outputs) for outputs in found] == [3, 3]
    assert found[0][-1].shape == (1, 1, 6, 5, 7)


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="medical, later"):
        MultiScaleDiscriminator(2, 1, form="other")


def test_weights_start_as_published():
    torch.manual_seed(0)

    def spread(**options):
        return MultiScaleDiscriminator(2, 1, 32, **options).scales[0][2][0].weight.std().item()

    assert spread() == pytest.approx((2 / (9 * 64 + 9 * 128)) ** 0.5, rel=0.02)
    assert spread(form="later") == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("form", ["medical", "later"])
def test_an_image_without_room_for_the_smallest_scale_is_refused(form):
    discriminator = MultiScaleDiscriminator(2, 1, 4, form=form)
    discriminator(torch.randn(1, 1, 64, 64))
    with pytest.raises(InputError, match="an image of 32×48: is too small for 3 scales of 4 layers"):
        discriminator(torch.randn(1, 1, 32, 48))
