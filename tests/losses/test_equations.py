"""Every loss term equals a NumPy transcription of its equation in the paper."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from medtrans.losses import L1, Adversarial, Content, DiscriminatorPerceptual, Observed, Style
from medtrans.losses.style_content import gram_matrix
from medtrans.networks import PatchDiscriminator


class FiveMaps(nn.Module):
    """A stand-in for VGG-19: five feature maps of the image by strided convolutions."""

    def __init__(self, dims=2):
        super().__init__()
        torch.manual_seed(1)
        convolution = nn.Conv2d if dims == 2 else nn.Conv3d
        widths = [1, 3, 4, 5, 6, 7]
        self.layers = nn.ModuleList(convolution(a, b, 3, 2, 1) for a, b in pairwise(widths))

    def forward(self, image):
        maps = []
        for layer in self.layers:
            image = torch.tanh(layer(image))
            maps.append(image)
        return maps


def pair(dims, batch=2, size=32, discriminator=None):
    torch.manual_seed(0)
    shape = (batch, 1, *[size] * dims)
    source, target, synthetic = (torch.rand(shape) * 2 - 1 for _ in range(3))
    return (
        Observed(synthetic, source, None, discriminator),
        Observed(target, source, None, discriminator, constant=True),
    )


def judged(discriminator, observed):
    with torch.no_grad():
        found = discriminator(torch.cat([observed.image, observed.source], 1))
    return [x.double().numpy() for x in found]


def maps(features, observed):
    with torch.no_grad():
        return [x.double().numpy() for x in features(observed.image)]


@pytest.fixture(params=[2, 3], ids=["2D", "3D"])
def dims(request):
    return request.param


@pytest.fixture
def discriminator(dims):
    torch.manual_seed(2)
    return PatchDiscriminator(dims, 2, channels=4, spectral=True).eval()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_adversarial_is_equation_3(dims, discriminator):
    candidate, target = pair(dims, discriminator=discriminator)
    fake, real = judged(discriminator, candidate)[-1], judged(discriminator, target)[-1]
    term = Adversarial()
    assert term(candidate, target).item() == pytest.approx(-np.log(sigmoid(fake)).mean(), abs=1e-5)
    expected = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()
    assert term.discriminator_loss(candidate, target).item() == pytest.approx(expected, abs=1e-5)


def test_least_squares_adversarial(dims, discriminator):
    candidate, target = pair(dims, discriminator=discriminator)
    fake, real = judged(discriminator, candidate)[-1], judged(discriminator, target)[-1]
    term = Adversarial(form="least_squares")
    assert term(candidate, target).item() == pytest.approx(((fake - 1) ** 2).mean(), abs=1e-5)
    expected = ((real - 1) ** 2).mean() + (fake**2).mean()
    assert term.discriminator_loss(candidate, target).item() == pytest.approx(expected, abs=1e-5)


def test_discriminator_perceptual_is_equations_6_and_7(dims, discriminator):
    candidate, target = pair(dims, discriminator=discriminator)
    found = [candidate.image.double().numpy(), *judged(discriminator, candidate)[:-1]]
    wanted = [target.image.double().numpy(), *judged(discriminator, target)[:-1]]
    layers = (0.5, 2.0, 3.0)
    expected = sum(c * np.abs(f - w).mean() for c, f, w in zip(layers, found, wanted, strict=True))
    assert DiscriminatorPerceptual(layers=layers)(candidate, target).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("margin", [20.0, 100.0])  # met by some images and missed by others, and by none
def test_the_margin_is_equation_6_of_pan(margin, dims, discriminator):
    candidate, target = pair(dims, discriminator=discriminator)
    target.image[0] = 0.9 * candidate.image[0] + 0.1 * target.image[0]  # one image closer than the other
    found, wanted = judged(discriminator, candidate)[:-1], judged(discriminator, target)[:-1]
    layers = (0, 2.0, 3.0)
    each = [
        sum(c * np.abs(f[b] - w[b]).mean() for c, f, w in zip(layers[1:], found, wanted, strict=True)) for b in (0, 1)
    ]
    assert 20 * min(each) < 20 < 20 * max(each) < 100
    expected = np.mean([max(margin - 20 * discrepancy, 0) for discrepancy in each])
    term = DiscriminatorPerceptual(20.0, layers, margin)
    assert term.discriminator_loss(candidate, target).item() == pytest.approx(expected, abs=1e-4)
    assert term(candidate, target).item() == pytest.approx(np.mean(each), abs=1e-5)


def test_the_margin_drives_the_features_of_both_images_apart(dims, discriminator):
    candidate, target = (Observed(x.image, x.source, None, discriminator) for x in pair(dims))
    parameters = [p for name, p in discriminator.named_parameters() if "final" not in name]
    loss = DiscriminatorPerceptual(20.0, (0, 1, 1), margin=100.0).discriminator_loss(candidate, target)
    found, wanted = (discriminator(torch.cat([x.image, x.source], 1))[:-1] for x in (candidate, target))
    by_hand = 100 - 20 * sum((f - w).abs().mean() for f, w in zip(found, wanted, strict=True))
    for ours, expected in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(by_hand, parameters), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def gram(v):
    batch, depth = v.shape[:2]
    out = np.zeros((batch, depth, depth))
    for b in range(batch):
        for m in range(depth):
            for n in range(depth):
                out[b, m, n] = (v[b, m] * v[b, n]).sum() / v[b].size
    return out


def test_gram_matrix_is_equation_9(dims):
    v = torch.randn(2, 3, *[5, 4, 3][:dims], dtype=torch.float64)
    np.testing.assert_allclose(gram_matrix(v).numpy(), gram(v.numpy()), atol=1e-12)


def test_style_is_equation_10(dims):
    features = FiveMaps(dims)
    candidate, target = pair(dims)
    expected = 0.0
    layers = (1, 0, 0, 0, 1)
    for c, f, w in zip(layers, maps(features, candidate), maps(features, target), strict=True):
        depth = f.shape[1]
        expected += c / (4 * depth**2) * ((gram(f) - gram(w)) ** 2).sum(axis=(1, 2)).mean()
    assert Style(features)(candidate, target).item() == pytest.approx(expected, abs=1e-5)
    assert Style(features)(candidate, target).item() == pytest.approx(expected, rel=1e-4)


def test_content_is_equation_11(dims):
    features = FiveMaps(dims)
    candidate, target = pair(dims)
    expected = sum(
        ((f - w) ** 2).sum(axis=tuple(range(1, f.ndim))).mean() / f[0].size
        for f, w in list(zip(maps(features, candidate), maps(features, target), strict=True))[:4]
    )
    assert Content(features)(candidate, target).item() == pytest.approx(expected, abs=1e-5)


def test_l1_whole_and_inside_the_mask(dims):
    candidate, target = pair(dims)
    difference = np.abs(candidate.image.numpy() - target.image.numpy())
    assert L1()(candidate, target).item() == pytest.approx(difference.mean(), abs=1e-6)
    target.mask = (torch.rand_like(target.image) > 0.7).float()
    inside = target.mask.numpy() > 0
    expected = np.mean([d[m].mean() for d, m in zip(difference, inside, strict=True)])
    assert L1(masked=True)(candidate, target).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("term", [DiscriminatorPerceptual(), Style(FiveMaps()), Content(FiveMaps()), L1()])
def test_identical_images_cost_nothing(term):
    torch.manual_seed(2)
    discriminator = PatchDiscriminator(2, 2, channels=4).eval()
    _, target = pair(2, discriminator=discriminator)
    same = Observed(target.image.clone(), target.source, None, discriminator)
    assert term(same, target).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("form", ["log", "least_squares"])
def test_being_taken_for_real_costs_the_generator_less(form):
    image, term = torch.zeros(1, 1, 4, 4), Adversarial(form=form)
    real = Observed(image, discriminator=lambda x: [torch.ones_like(x)])
    costs = []
    for verdict in (-1.0, 0.5):
        candidate = Observed(image, discriminator=lambda x, v=verdict: [torch.full_like(x, v)])
        costs.append((term(candidate, real).item(), term.discriminator_loss(candidate, real).item()))
    (unconvincing, told_apart), (convincing, fooled) = costs
    assert convincing < unconvincing
    if form == "log":
        assert fooled > told_apart


@pytest.mark.parametrize("name", ["adversarial", "perceptual", "style", "content", "l1"])
def test_gradient_to_the_image_agrees_with_finite_differences(name):
    torch.manual_seed(2)
    discriminator = PatchDiscriminator(2, 2, channels=2).double().eval()
    features = FiveMaps().double()
    term = {
        "adversarial": Adversarial(),
        "perceptual": DiscriminatorPerceptual(),
        "style": Style(features),
        "content": Content(features),
        "l1": L1(),
    }[name]
    source, target, image = (torch.rand(1, 1, 16, 16, dtype=torch.float64) for _ in range(3))

    def loss(x):
        observed = [Observed(picture, source, None, discriminator) for picture in (x, target)]
        return term(*observed)

    assert torch.autograd.gradcheck(loss, image.requires_grad_(), atol=1e-5, rtol=1e-3, fast_mode=True)
