"""Shape: Dice and cross entropy between segmentations equal their formulas, against the target and against a label."""

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet
from scipy.special import log_softmax, softmax
from torch import nn

from medtrans import InputError
from medtrans.losses import LossTerms, Observed, Shape


class Segmenter(nn.Module):
    """Three classes: dark, middle, bright; counts how often it is asked."""

    def __init__(self, sharpness=5.0):
        super().__init__()
        self.sharpness, self.calls = sharpness, 0

    def forward(self, image):
        self.calls += 1
        centres = torch.tensor([-1.0, 0.0, 1.0], dtype=image.dtype).view(1, 3, *[1] * (image.ndim - 2))
        return [-self.sharpness * (image[:, :1] - centres).square()]


def logits(image, sharpness=5.0):
    centres = np.array([-1.0, 0.0, 1.0]).reshape(1, 3, *[1] * (image.ndim - 2))
    return -sharpness * (image.numpy()[:, :1] - centres) ** 2


def dice(p, q, classes=(0, 1, 2)):
    axes = tuple(range(2, p.ndim))
    both, each = (p * q).sum(axes), (p**2 + q**2).sum(axes)
    return np.mean([1 - (2 * both[:, c] + 1e-5) / (each[:, c] + 1e-5) for c in classes])


@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (1, 1, 5, 6, 7)])
def test_against_the_segmentation_of_the_target(shape, pair):
    candidate, target = pair(shape)
    q, p = softmax(logits(candidate.image), 1), softmax(logits(target.image), 1)
    assert Shape(Segmenter())(candidate, target).item() == pytest.approx(dice(p, q), rel=1e-9)
    one = Shape(Segmenter(), classes=[2])(candidate, target).item()
    assert one == pytest.approx(dice(p, q, (2,)), rel=1e-9)
    divergence = (p * (np.log(p) - log_softmax(logits(candidate.image), 1))).sum(1).mean()
    assert Shape(Segmenter(), form="cross_entropy")(candidate, target).item() == pytest.approx(divergence, rel=1e-9)
    both = Shape(Segmenter(), form="dice_cross_entropy")(candidate, target).item()
    assert both == pytest.approx(dice(p, q) + divergence, rel=1e-9)


@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (1, 1, 5, 6, 7)])
def test_against_a_given_label(shape, pair):
    candidate, target = pair(shape)
    target.label = torch.randint(0, 3, (shape[0], 1, *shape[2:]))
    p = np.moveaxis(np.eye(3)[target.label.numpy()[:, 0]], -1, 1)
    q = softmax(logits(candidate.image), 1)
    found = Shape(Segmenter(), against="label")(candidate, target).item()
    assert found == pytest.approx(dice(p, q), rel=1e-9)
    expected = nn.functional.cross_entropy(torch.from_numpy(logits(candidate.image)), target.label[:, 0]).item()
    found = Shape(Segmenter(), against="label", form="cross_entropy")(candidate, target).item()
    assert found == pytest.approx(expected, rel=1e-9)


def test_overlapping_classes(pair):
    candidate, target = pair()
    q, p = (1 / (1 + np.exp(-logits(x.image))) for x in (candidate, target))
    term = Shape(Segmenter(), activation="sigmoid", form="dice_cross_entropy")
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(1).mean()
    assert term(candidate, target).item() == pytest.approx(dice(p, q) + divergence, rel=1e-9)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_identical_images_cost_nothing(activation, pair):
    _, target = pair()
    term = Shape(Segmenter(), form="dice_cross_entropy", activation=activation)
    assert term(Observed(target.image.clone()), target).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("form", ["dice", "cross_entropy"])
def test_gradient(form, pair, gradient_is_right):
    assert gradient_is_right(Shape(Segmenter(), form=form), *pair((1, 1, 4, 5)))


def test_the_target_is_segmented_once_for_several_updates_and_terms(pair):
    segmenter = Segmenter()
    terms = LossTerms({"dice": Shape(segmenter), "entropy": Shape(segmenter, form="cross_entropy")})
    candidate, target = pair()
    for _ in range(3):
        terms.generator_loss(Observed(candidate.image), target)
    assert segmenter.calls == 3 + 1


def test_a_lost_structure_costs_more_than_noise_of_equal_size():
    target = torch.full((1, 1, 24, 24), -1.0)
    target[..., 9:15, 9:15] = 1.0
    lost = torch.full_like(target, -1.0)
    noise = (lost - target).abs().mean() * torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).sign()
    costs = [Shape(Segmenter())(Observed(image), Observed(target)).item() for image in (lost, target + noise)]
    assert costs[0] > 2 * costs[1]


def test_a_bundle_named_in_a_config_pulls_the_output_to_its_segmentation(tmp_path, pair):
    torch.manual_seed(0)
    network = UNet(2, 1, 2, (4, 8), (2,)).eval()
    definition = {
        "_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]
    }  # fmt: skip
    for name in ("configs", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "configs/inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save(network.state_dict(), tmp_path / "models/model.pt")
    config = {
        "_target_": "medtrans.losses.Shape", "weight": 2.0, "form": "dice_cross_entropy",
        "network": {"_target_": "medtrans.networks.FrozenNetwork", "path": str(tmp_path), "scale": [0, 1]},
    }  # fmt: skip
    terms = LossTerms({"shape": ConfigParser({"shape": config}).get_parsed_content("shape")})
    candidate, target = pair((1, 1, 16, 16), torch.float32)
    image = candidate.image.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], 0.05)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        total, _ = terms.generator_loss(Observed(image), target)
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.2 * values[0]


def test_wrong_settings_and_a_missing_label_are_told(pair):
    for wrong in ({"form": "iou"}, {"against": "source"}, {"activation": "tanh"}):
        with pytest.raises(InputError, match="shape loss"):
            Shape(Segmenter(), **wrong)
    with pytest.raises(ValueError, match="the batch has none"):
        Shape(Segmenter(), against="label")(*pair())
