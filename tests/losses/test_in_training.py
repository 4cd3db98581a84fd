"""What the engine takes for granted of every term: means over the batch, finite gradients, any channels, 2D and 3D."""

import pytest
import torch
from torch import nn

from medtrans import losses
from medtrans.engines import TranslationTrainer
from medtrans.losses import Observed, available
from medtrans.methods import PairedTranslation
from medtrans.networks import CasNet, PatchDiscriminator


class Maps(nn.Module):
    """Two feature maps of an image of any channels and dimensions."""

    def forward(self, image):
        return [image**2, torch.tanh(3 * image)]


class Classes(nn.Module):
    """Logits of two classes: dark and bright."""

    def forward(self, image):
        bright = image.mean(1, keepdim=True) * 4
        return [torch.cat([-bright, bright], 1)]


TERMS = {
    **{f"Adversarial {form}": ("Adversarial", {"form": form}) for form in losses.adversarial.FORMS},
    "L1": ("L1", {}),
    "L1 in the body, by intensity": (
        "L1",
        {"masked": True, "intensity_weights": {"edges": [0.0], "weights": [1.0, 3.0]}},
    ),
    "L2": ("L2", {"masked": True}),
    "Charbonnier": ("Charbonnier", {}),
    "GradientDifference": ("GradientDifference", {"masked": True}),
    "Sharpness": ("Sharpness", {"masked": True}),
    "Shape": ("Shape", {"network": Classes(), "form": "dice_cross_entropy"}),
    "Shape of labels": ("Shape", {"network": Classes(), "against": "label"}),
    "DiscriminatorPerceptual": ("DiscriminatorPerceptual", {}),
    "Perceptual": ("Perceptual", {"features": Maps(), "layers": (1, 1)}),
    "SSIM": ("SSIM", {"masked": True}),
    "MultiScaleSSIM": ("MultiScaleSSIM", {"scales": 1}),
    "Style": ("Style", {"features": Maps(), "layers": (1, 1)}),
    "Content": ("Content", {"features": Maps(), "layers": (1, 1)}),
    "SelfRegularisation": ("SelfRegularisation", {}),
    "Frequency": ("Frequency", {"focal": 1.0, "band": (0.1, 1.8)}),
    "TotalVariation": ("TotalVariation", {"masked": True}),
}


@pytest.fixture(params=TERMS)
def term(request):
    name, options = TERMS[request.param]
    return available()[name](**options)


def batch(dims, channels, count=4):
    generator = torch.Generator().manual_seed(1)
    shape = (count, channels, *[16] * dims)
    source, target = (torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))
    inside = torch.rand((count, 1, *shape[2:]), generator=generator)
    mask, label = (inside > 0.3).float(), (inside > 0.6).float()
    return {"source": source, "target": target, "mask": mask, "label": label}


def discriminator(dims, channels):
    torch.manual_seed(0)
    return PatchDiscriminator(dims, 2 * channels, channels=4).eval()


def value(term, image, part, network):
    options = {"mask": part["mask"], "discriminator": network, "label": part["label"]}
    target = Observed(part["target"], part["source"], constant=True, **options)
    return term(Observed(image, part["source"], **options), target)


@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_the_mean_over_parts_of_a_batch_is_that_of_the_batch(term, dims, channels):
    whole, network = batch(dims, channels), discriminator(dims, channels)
    image = torch.tanh(whole["source"] + 0.3 * whole["target"])
    expected = value(term, image, whole, network)
    parts = [{key: tensor[i : i + 2] for key, tensor in whole.items()} for i in (0, 2)]
    found = sum(value(term, image[i : i + 2], part, network) for i, part in zip((0, 2), parts, strict=True)) / 2
    assert expected.shape == ()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_autocast_changes_no_term_of_the_images_alone(term, dims):
    whole, network = batch(dims, 1, 2), nn.Identity()
    if term.uses_discriminator:
        pytest.skip("its network is meant to compute in bfloat16")
    image = whole["source"] * 0.5
    plain = value(term, image, whole, network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(value(term, image, whole, network), plain)


@pytest.mark.parametrize("start", ["flat", "equal", "random"])
def test_the_gradient_is_finite_wherever_training_begins(term, start):
    whole, network = batch(2, 1, 2), discriminator(2, 1)
    begun = {"flat": torch.full_like(whole["target"], -1.0), "equal": whole["target"], "random": whole["source"] * 0.7}
    image = begun[start].clone().requires_grad_()
    found = value(term, image, whole, network)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2, "precision": "bf16"}])
def test_every_term_trains_beside_l1(term, settings):
    torch.manual_seed(0)
    generator, network = CasNet(2, 1, 1, blocks=1, channels=(4, 8)), PatchDiscriminator(2, 2, channels=4, spectral=True)
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), 1e-3),
        "discriminator": torch.optim.Adam(network.parameters(), 1e-3),
    }
    terms = {"adversarial": available()["Adversarial"](), "l1": available()["L1"](100.0), "more": term}
    method = PairedTranslation(generator, terms, optimizers, network, generator_steps=2)
    trainer = TranslationTrainer("cpu", 2, [batch(2, 1)], method, **settings)
    before = [p.detach().clone() for p in method.generator.parameters()]
    trainer.run()
    assert "more" in trainer.state.output[0]
    assert all(torch.isfinite(p).all() for p in method.parameters())
    assert not all(torch.equal(p, q) for p, q in zip(before, method.generator.parameters(), strict=True))


def test_every_loss_of_the_reviews_table_is_here():
    """Its twelve kinds; the cycle needs a method that translates back, MONAI's networks their weights."""
    assert {name for name, _ in TERMS.values()} | {"Cycle", "MedicalPerceptual"} <= set(available())
