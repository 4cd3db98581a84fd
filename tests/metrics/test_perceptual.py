"""LPIPS against torchmetrics, on trunks with seeded random weights saved as torchvision would publish them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import torchvision
from torchmetrics.functional.image.lpips import _LPIPS

from medtrans import InputError, metrics
from medtrans.metrics.perceptual import TRUNKS


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A torch hub cache that holds the SqueezeNet file."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "checkpoints").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, folder / "checkpoints" / TRUNKS["squeeze"].rsplit("/", 1)[1])
    return folder


@pytest.fixture
def cached(hub, monkeypatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))
    return hub


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 3, 64, 72, generator=generator), torch.rand(3, 3, 64, 72, generator=generator)


def test_it_agrees_with_torchmetrics_given_the_same_trunk(cached, images):
    reference = _LPIPS(pretrained=True, net="squeeze").eval()
    expected = reference(*images, normalize=True).flatten()
    value = metrics.LPIPS(trunk="squeeze")(*images, data_range=(0, 1))
    assert torch.allclose(value.float(), expected, rtol=1e-5)
    explicit = metrics.LPIPS("squeeze", weights=cached / "checkpoints" / TRUNKS["squeeze"].rsplit("/", 1)[1])
    assert torch.equal(explicit(*images, data_range=(0, 1)), value)


def test_one_channel_is_repeated_and_others_are_averaged(cached, images):
    metric = metrics.LPIPS(trunk="squeeze")
    grey = [image[:, :1] for image in images]
    value = metric(*grey, data_range=(0, 1))
    assert torch.allclose(metric(*(image.expand(-1, 3, -1, -1) for image in grey), data_range=(0, 1)), value)
    parts = [metric(*(image[:, [c]] for image in images), data_range=(0, 1)) for c in range(2)]
    both = metric(*(image[:, :2] for image in images), data_range=(0, 1))
    assert torch.allclose(both, torch.stack(parts).mean(0))


def test_a_mask_of_ones_is_the_whole_image_and_a_corner_is_not(cached, images):
    metric, mask = metrics.LPIPS(trunk="squeeze"), torch.zeros(3, 1, 64, 72)
    mask[..., :24, :24] = 1
    half = images[0].clone()
    half[..., :30, :30] = images[1][..., :30, :30]
    whole, ones, corner = metric.in_regions(
        half, images[1], data_range=(0, 1), masks=[None, torch.ones_like(mask), mask]
    )
    assert torch.allclose(whole, ones)
    assert (corner < 0.7 * whole).all()


def test_a_volume_is_the_mean_of_its_slices_that_the_mask_meets(cached):
    generator = torch.Generator().manual_seed(1)
    prediction, reference = (torch.rand(2, 1, 40, 36, 19, generator=generator) for _ in range(2))
    mask = torch.zeros_like(reference)
    mask[..., 3:7] = 1
    metric = metrics.LPIPS(trunk="squeeze")
    whole, masked = metric.in_regions(prediction, reference, data_range=(0, 1), masks=[None, mask])
    slices = torch.stack([metric(prediction[..., k], reference[..., k], data_range=(0, 1)) for k in range(19)])
    assert torch.allclose(whole, slices.mean(0))
    assert torch.allclose(masked, slices[3:7].mean(0))


def test_identical_is_zero_and_dropout_is_off(cached, images):
    metric = metrics.LPIPS(trunk="squeeze")
    assert torch.equal(metric(images[0], images[0], data_range=(0, 1)), torch.zeros(3, dtype=torch.float64))
    assert torch.equal(metric(*images, data_range=(0, 1)), metric(*images, data_range=(0, 1)))


def test_without_weights_it_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch, images):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    reason = metrics.LPIPS().unavailable()
    assert TRUNKS["alex"] in reason
    assert str(tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth") in reason
    with pytest.raises(InputError, match="fetch"):
        metrics.LPIPS()(*images, data_range=(0, 1))


def test_a_file_that_is_no_trunk_is_refused(tmp_path, images):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="damaged or not a checkpoint"):
        metrics.LPIPS(weights=path)(*images, data_range=(0, 1))


def test_a_random_trunk_is_used_only_on_request_and_warned_of(caplog, images):
    with caplog.at_level(logging.WARNING):
        first = metrics.LPIPS("squeeze", random=1)(*images, data_range=(0, 1))
    assert "random trunk" in caplog.text
    assert torch.equal(first, metrics.LPIPS("squeeze", random=1)(*images, data_range=(0, 1)))
    assert not torch.equal(first, metrics.LPIPS("squeeze", random=2)(*images, data_range=(0, 1)))


def test_images_outside_a_range_given_as_width_are_refused(images):
    with pytest.raises(ValueError, match="interval"):
        metrics.LPIPS("squeeze", random=0)(images[0] - 1, images[1], data_range=2.0)


def test_an_unknown_trunk_is_refused():
    with pytest.raises(InputError, match="alex, vgg, squeeze"):
        metrics.LPIPS(trunk="resnet")
