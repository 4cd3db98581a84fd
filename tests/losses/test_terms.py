"""Named terms: weights, what is skipped, what is computed once."""

import pytest
import torch
from torch import nn

from medtrans import InputError
from medtrans.losses import L1, Adversarial, DiscriminatorPerceptual, LossTerms, Observed, Style
from medtrans.networks import VGG19Features


class Counting(nn.Module):
    """An extractor that counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return [image * 2, image.mean(dim=(2, 3), keepdim=True)]


def images():
    torch.manual_seed(0)
    return torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)


def test_total_is_the_weighted_sum_and_values_are_unweighted():
    image, truth = images()
    terms = LossTerms({"a": L1(2.0), "b": L1(0.5)})
    total, values = terms.generator_loss(Observed(image), Observed(truth))
    expected = (image - truth).abs().mean().item()
    assert total.item() == pytest.approx(2.5 * expected, rel=1e-6)
    assert {name: value.item() for name, value in values.items()} == pytest.approx({"a": expected, "b": expected})


def test_several_terms_share_one_pass_through_the_discriminator():
    image, truth = images()
    discriminator = Counting()
    terms = LossTerms({"adversarial": Adversarial(), "perceptual": DiscriminatorPerceptual(layers=(1, 1))})
    target = Observed(truth, truth, None, discriminator, constant=True)
    terms.generator_loss(Observed(image, truth, None, discriminator), target)
    assert discriminator.calls == 2  # candidate once, target once
    terms.generator_loss(Observed(image, truth, None, discriminator), target)
    assert discriminator.calls == 3  # the constant target is not looked at again


def test_a_term_of_weight_zero_is_neither_computed_nor_prepared(tmp_path):
    features = VGG19Features(tmp_path / "absent.pth")
    terms = LossTerms({"l1": L1(), "style": Style(features, weight=0)})
    _, values = terms.generator_loss(*(Observed(image) for image in images()))
    assert set(values) == {"l1"}


def test_missing_weights_are_told_before_training_starts(tmp_path):
    with pytest.raises(InputError, match="VGG-19"):
        LossTerms({"style": Style(VGG19Features(tmp_path / "absent.pth"), weight=1e-4)})


def test_adversarial_of_weight_zero_still_trains_the_discriminator():
    terms = LossTerms({"adversarial": Adversarial(weight=0), "l1": L1()})
    image, truth = images()
    discriminator = Counting()
    pair = [Observed(x, truth, None, discriminator) for x in (image, truth)]
    assert set(terms.generator_loss(*pair)[1]) == {"l1"}
    assert terms.train_a_discriminator
    assert set(terms.discriminator_loss(*pair)[1]) == {"adversarial"}


def test_terms_stay_in_evaluation_mode():
    terms = LossTerms({"style": Style(nn.Sequential(nn.Dropout()), weight=1)})
    assert not any(module.training for module in terms.train().modules())


def test_a_discriminator_is_demanded_by_name():
    with pytest.raises(ValueError, match="needs a discriminator"):
        Adversarial()(*(Observed(image) for image in images()))


def test_wrong_number_of_layer_weights_is_refused():
    image, truth = images()
    discriminator = Counting()
    pair = [Observed(x, truth, None, discriminator) for x in (image, truth)]
    with pytest.raises(ValueError, match="3 weights for the image and 1 hidden"):
        DiscriminatorPerceptual()(*pair)


def test_something_that_is_not_a_term_is_refused():
    with pytest.raises(TypeError, match="losses#pixel is L1Loss"):
        LossTerms({"pixel": nn.L1Loss()})


def test_features_come_back_in_float32_under_autocast():
    image, _ = images()
    observed = Observed(image)
    network = nn.Conv2d(1, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = observed.features(lambda x: [network(x)])
    assert found[0].dtype == torch.float32


def test_a_margin_makes_the_perceptual_loss_train_the_discriminator_too():
    assert not LossTerms({"perceptual": DiscriminatorPerceptual()}).train_a_discriminator
    assert LossTerms({"perceptual": DiscriminatorPerceptual(margin=1)}).train_a_discriminator
    assert not LossTerms({"perceptual": DiscriminatorPerceptual(0, margin=1), "l1": L1()}).train_a_discriminator
    with pytest.raises(ValueError, match="without a margin"):
        DiscriminatorPerceptual().discriminator_loss(*(Observed(image) for image in images()))
