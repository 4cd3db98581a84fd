"""Perceptual losses: the mean absolute difference of any features, and MONAI's distance of its medical networks'."""

import numpy as np
import pytest
import torch
from torch import nn

from medtrans import InputError
from medtrans.losses import LossTerms, MedicalPerceptual, Observed, Perceptual


class Squares(nn.Module):
    """Two feature maps that NumPy computes as well."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return [image**2, torch.cat([image.sin(), image.cos()], 1)]


@pytest.mark.parametrize("shape", [(2, 1, 6, 7), (1, 3, 4, 5, 6)])
def test_weighted_sum_of_mean_absolute_differences(shape, pair):
    candidate, target = pair(shape)
    a, b = candidate.image.numpy(), target.image.numpy()
    waves = [np.concatenate([np.sin(x), np.cos(x)], 1) for x in (a, b)]
    expected = 0.5 * np.abs(a**2 - b**2).mean() + 2 * np.abs(waves[0] - waves[1]).mean()
    assert Perceptual(Squares(), layers=(0.5, 2))(candidate, target).item() == pytest.approx(expected, rel=1e-12)


def test_identical_images_cost_nothing(pair):
    _, target = pair()
    assert Perceptual(Squares(), layers=(1, 1))(Observed(target.image.clone()), target).item() == 0


def test_gradient(pair, gradient_is_right):
    assert gradient_is_right(Perceptual(Squares(), layers=(1, 1)), *pair((1, 1, 4, 5)))


def test_the_target_is_seen_once_for_several_updates_and_terms(pair):
    features = Squares()
    terms = LossTerms({"one": Perceptual(features, layers=(1, 1)), "other": Perceptual(features, layers=(1, 0))})
    candidate, target = pair()
    for _ in range(3):
        terms.generator_loss(Observed(candidate.image), target)
    assert features.calls == 3 + 1


def hub_with(folder, code):
    repository = folder / "Project-MONAI_perceptual-models_main"
    repository.mkdir()
    (repository / "hubconf.py").write_text(code)
    return str(folder)


def test_medical_features_are_compared_as_directions(tmp_path, pair):
    code = "import torch\ndef radimagenet_resnet50(cache_dir=None):\n    return torch.nn.AvgPool2d(3)\n"
    candidate, target = pair((2, 1, 9, 12))
    directions = []
    for image in (candidate.image, target.image):
        bgr = (image.numpy() + 1) / 2 - np.array([0.406, 0.456, 0.485]).reshape(1, 3, 1, 1)
        pooled = bgr.reshape(2, 3, 3, 3, 4, 3).mean((3, 5))
        directions.append(pooled / np.sqrt((pooled**2).sum(1, keepdims=True) + 1e-10))
    expected = ((directions[0] - directions[1]) ** 2).sum(1).mean()
    term = MedicalPerceptual(folder=hub_with(tmp_path, code)).double()
    LossTerms({"medical": term})
    assert term(candidate, target).item() == pytest.approx(expected, rel=1e-6)


def test_missing_networks_are_told_before_training_starts(tmp_path):
    broken = hub_with(tmp_path, "raise OSError('the weights are not here')\n")
    with pytest.raises(InputError, match="the weights are not here"):
        LossTerms({"medical": MedicalPerceptual(folder=broken)})
