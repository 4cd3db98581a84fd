"""The figures of the loss catalogue say what they are named after."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

SIZE = 48


@pytest.fixture(scope="module")
def effects(script):
    return script("loss_catalogue/loss_effects")


@pytest.fixture(scope="module")
def head():
    random = np.random.default_rng(0)
    target, source = np.tanh(4 * gaussian_filter(random.normal(size=(2, 3, 1, SIZE, SIZE)), (0, 0, 0, 1, 1)))
    mask = torch.zeros(3, 1, SIZE, SIZE)
    mask[..., 8:40, 6:42] = 1
    return {
        key: torch.tensor(value, dtype=torch.float32) for key, value in {"source": source, "target": target}.items()
    } | {"mask": mask}


def blurred(image, sigma=1.0):
    return torch.tensor(gaussian_filter(image.numpy(), (0, 0, sigma, sigma)))


def test_of_the_target_itself_every_error_is_zero_and_every_ratio_one(effects, head):
    found = {name: measure(head["target"], head) for name, measure in effects.PROPERTIES.items()}
    for name in ("SSIM", "MS-SSIM", "sharpness", "variation", "fine power"):
        assert found[name] == pytest.approx(1, abs=1e-5), name
    for name in ("MAE", "RMSE", "MAE of bright voxels", "histogram distance"):
        assert found[name] == pytest.approx(0, abs=1e-6), name
    assert all(found[name] == pytest.approx(0, abs=1e-5) for name in found if name.startswith("k-space"))


def test_blur_is_seen_by_all_that_measure_fine_detail(effects, head):
    some, more = ({n: m(blurred(head["target"], s), head) for n, m in effects.PROPERTIES.items()} for s in (0.6, 1.2))
    for name in ("SSIM", "MS-SSIM", "sharpness", "variation", "fine power"):
        assert more[name] < some[name] < 1, name
    assert more["k-space error, fine"] > some["k-space error, fine"] > some["k-space error"]


def test_k_space_errors_are_those_of_numpy(effects, head):
    found = blurred(head["target"])
    ours, true = (np.fft.fft2(image.numpy().astype(float)) for image in (found, head["target"]))
    kx, ky = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    fine = np.broadcast_to(np.hypot(kx, ky) >= 0.25, ours.shape)  # half of Nyquist's 0.5 cycles a voxel
    expected = np.abs(ours - true).mean() / np.abs(true).mean()
    assert effects.PROPERTIES["k-space error"](found, head) == pytest.approx(expected, rel=1e-4)
    expected = np.abs(ours - true)[fine].mean() / np.abs(true)[fine].mean()
    assert effects.PROPERTIES["k-space error, fine"](found, head) == pytest.approx(expected, rel=1e-4)


def test_the_histogram_distance_is_the_earth_movers_and_blind_to_places(effects, head):
    inside, measure = head["mask"] > 0, effects.PROPERTIES["histogram distance"]
    found = blurred(head["target"])
    expected = wasserstein_distance(found[inside].numpy(), head["target"][inside].numpy())
    assert measure(found, head) == pytest.approx(expected, rel=1e-4)
    turned = head["target"].flip(2)  # the mask is symmetric along this axis
    assert measure(turned, head) == pytest.approx(0, abs=1e-6)


def test_errors_count_in_the_body_and_where_the_target_is_bright(effects, head):
    inside, bright = head["mask"] > 0, (head["mask"] > 0) & (head["target"] > 0)
    found = head["target"] + 0.1 * (~inside) + 0.2 * bright
    share = bright.sum().item() / inside.sum().item()
    assert effects.PROPERTIES["MAE"](found, head) == pytest.approx(0.2 * share, rel=1e-3)
    assert effects.PROPERTIES["RMSE"](found, head) == pytest.approx(0.2 * share**0.5, rel=1e-3)
    assert effects.PROPERTIES["MAE of bright voxels"](found, head) == pytest.approx(0.2, rel=1e-3)


class Threshold(torch.nn.Module):
    """Two tissues: dark and bright."""

    def forward(self, image):
        return torch.cat([-image, image], dim=1)


def test_dice_is_that_of_what_the_network_sees(effects, head):
    assert effects.dice(head["target"], head, Threshold(), 2) == 1
    assert effects.dice(-head["target"], head, Threshold(), 2) == 0
    all_bright = torch.ones_like(head["target"])
    share = ((head["target"] > 0) & (head["mask"] > 0)).sum().item() / (head["mask"] > 0).sum().item()
    assert effects.dice(all_bright, head, Threshold(), 2) == pytest.approx(share / (1 + share), rel=1e-4)


def test_a_change_has_an_interval_over_heads_and_is_visible_beyond_what_chance_does(effects):
    heads = [f"head-{k}" for k in range(8)]

    def run(value, slope=0.0):
        return {head: value + slope * k for k, head in enumerate(heads)}

    plain, nudged, reordered = run(1.0), [run(1.1), run(0.95)], [run(1.2), run(0.7)]
    found = effects.change(run(2.0, 0.1), plain, nudged, reordered)
    assert found.plain == pytest.approx(1)
    assert found.difference.mean == pytest.approx(1.35)
    assert found.difference.low < 1.35 < found.difference.high
    assert (found.nudge, found.order) == (pytest.approx(0.15), pytest.approx(0.5))
    said = [effects.change(run(value, 0.001), plain, nudged, reordered).visible for value in (2, 1.3, 0.7, 1.1)]
    assert said == ["yes", "in this order", "in this order", "no"]
    across_zero = {head: 1 + 0.5 * (-1) ** k for k, head in enumerate(heads)}
    assert effects.change(across_zero, plain, [plain], [plain]).visible == "no"
