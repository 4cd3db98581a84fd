"""What holds for every metric, whatever it measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from medtrans import metrics

BEST = {"ssim": 1, "ms_ssim": 1, "psnr": np.inf, "vif": 1, "uqi": 1, "lpips": 0, "nmi": 2, "z_psnr": np.inf}
ERRORS = {"mae", "rmse", "mse", "mse_255", "z_mae"}
REACH = {"ssim": 5, "uqi": 4, "mae": 0, "rmse": 0, "mse": 0, "mse_255": 0, "psnr": 0, "nmi": 0, "mi": 0, "z_mae": 0}
SMALL = sorted(set(metrics.available()) - {"ms_ssim", "lpips"})


def metric_called(name: str) -> metrics.ImageMetric:
    return metrics.create([name], {"lpips": {"random": 0, "trunk": "squeeze"}} if name == "lpips" else None)[0]


@pytest.mark.parametrize("name", SMALL)
def test_the_data_range_must_be_given(name, pair):
    prediction, reference, _ = pair.tensors()
    with pytest.raises(TypeError, match="data_range"):
        metric_called(name)(prediction, reference)


@pytest.mark.parametrize("data_range", [0, -1.0, np.inf, np.nan, (1.0, 1.0), (2, 1), (0, np.inf), (0, 1, 2)])
def test_a_range_that_is_no_positive_interval_is_refused(data_range, pair):
    prediction, reference, _ = pair.tensors()
    with pytest.raises(ValueError, match="data_range"):
        metric_called("psnr")(prediction, reference, data_range=data_range)


@pytest.mark.parametrize("name", SMALL)
def test_identical_images_get_the_best_value(name, pair):
    prediction, reference, _ = pair.tensors()
    metric = metric_called(name)
    same = metric(reference, reference, data_range=(0, 1)).item()
    other = metric(prediction, reference, data_range=(0, 1)).item()
    assert same > other if metric.higher_is_better else same < other
    if name in BEST or name in ERRORS:
        assert same == pytest.approx(BEST.get(name, 0), abs=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_a_mask_of_ones_is_the_whole_image(name, batch):
    prediction, reference = batch
    whole, masked = metric_called(name).in_regions(
        prediction, reference, data_range=(0, 1), masks=[None, torch.ones_like(prediction[:, :1])]
    )
    assert whole.shape == (2,)
    assert torch.equal(whole, masked) or torch.allclose(whole, masked, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(REACH))
def test_what_lies_outside_the_mask_does_not_matter_beyond_the_reach_of_the_window(name, pair):
    prediction, reference, mask = pair.tensors()
    reach, inner = REACH[name], tuple(slice(6, length - 9) for length in pair.mask.shape)
    far = torch.ones_like(mask)
    far[(..., *[slice(part.start - reach, part.stop + reach) for part in inner])] = 0
    metric = metric_called(name)
    before = metric(prediction, reference, data_range=(0, 1), mask=mask)
    after = metric(torch.where(far > 0, 0.37, prediction), reference, data_range=(0, 1), mask=mask)
    assert after.item() == pytest.approx(before.item(), rel=1e-12)
    inside = prediction.clone()
    inside[(..., *[slice(part.start, part.start + 4) for part in inner])] = 0.9
    assert metric(inside, reference, data_range=(0, 1), mask=mask).item() != pytest.approx(before.item(), rel=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_an_empty_mask_gives_nan_and_leaves_the_other_images_alone(name, batch):
    prediction, reference = batch
    mask = torch.ones_like(prediction[:, :1])
    mask[0] = 0
    values = metric_called(name)(prediction, reference, data_range=(0, 1), mask=mask)
    alone = metric_called(name)(prediction[1:], reference[1:], data_range=(0, 1))
    assert torch.isnan(values[0])
    assert values[1].item() == pytest.approx(alone.item(), rel=1e-12)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_voxel_gives_nan_for_its_image_only(name, bad, batch):
    prediction, reference = batch
    spoilt = prediction.clone()
    spoilt[(0, 1, *[20] * (spoilt.ndim - 2))] = bad
    values = metric_called(name)(spoilt, reference, data_range=(0, 1))
    assert torch.isnan(values[0])
    assert values[1] == metric_called(name)(prediction, reference, data_range=(0, 1))[1]


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"nmi", "mi"}))
def test_every_channel_has_the_same_say(name, batch):
    prediction, reference = batch
    metric = metric_called(name)
    together = metric(prediction, reference, data_range=(0, 1))
    parts = [metric(prediction[:, [c]], reference[:, [c]], data_range=(0, 1)) for c in range(3)]
    if name == "psnr":  # the mean is taken over the squared error, not over decibels
        expected = -10 * torch.log10(torch.stack([10 ** (-part / 10) for part in parts]).mean(0))
    elif name == "rmse":
        expected = torch.sqrt(torch.stack([part**2 for part in parts]).mean(0))
    else:
        expected = torch.stack(parts).mean(0)
    assert torch.allclose(together, expected, rtol=1e-10)


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=8, deadline=None)
@given(lower=st.floats(-1e4, 1e4), width=st.floats(0.5, 1e4))
def test_values_follow_the_unit_when_images_and_range_are_rescaled(name, lower, width):
    reference = torch.rand(1, 1, 48, 44, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prediction = (reference * 0.8 + 0.1 * torch.roll(reference, 3, -1)).clamp(0, 1)
    metric = metric_called(name)
    value = metric(prediction, reference, data_range=(0, 1)).item()
    scaled = metric(prediction * width + lower, reference * width + lower, data_range=(lower, lower + width)).item()
    power = {"target": width, "target²": width**2}.get(metric.unit, 1.0)
    # a bin edge may be crossed by rounding
    assert scaled == pytest.approx(value * power, rel=1e-2 if name in ("mi", "nmi") else 1e-5)


def test_values_outside_the_interval_are_clipped_for_relative_metrics_and_not_for_physical_errors():
    reference = torch.zeros(1, 1, 12, 12)
    prediction = torch.full_like(reference, 3.0)
    assert metric_called("psnr")(prediction, reference, data_range=(0, 1)) == 0
    assert metric_called("mae")(prediction, reference, data_range=(0, 1)) == 3
    assert metric_called("mse")(prediction, reference, data_range=(0, 1)) == 9


def test_a_width_alone_takes_the_images_as_they_are():
    reference = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    prediction = -reference
    metric = metric_called("ssim")
    shifted = metric(prediction + 1, reference + 1, data_range=2.0)
    assert metric(prediction, reference, data_range=(-1, 1)).item() == pytest.approx(shifted.item(), rel=1e-9)
    assert metric(prediction, reference, data_range=2.0).item() != pytest.approx(shifted.item(), rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, m: (x[..., :-1], y, None), "shapes differ"),
        (lambda x, y, m: (x[0, 0], y[0, 0], None), "spatial axes"),
        (lambda x, y, m: (x, y, m[..., :-1]), "mask has shape"),
        (lambda x, y, m: (x[..., :6], y[..., :6], None), "at least 11 voxels"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message, pair_2d):
    prediction, reference, mask = change(*pair_2d.tensors())
    with pytest.raises(ValueError, match=message):
        metric_called("ssim")(prediction, reference, data_range=1.0, mask=mask)


def test_metadata_and_integer_images_are_welcome(pair_2d):
    prediction, reference, _ = pair_2d.tensors()
    prediction, reference = (prediction * 255).round(), (reference * 255).round()
    plain = metric_called("ssim")(prediction, reference, data_range=255)
    tracked = metric_called("ssim")(MetaTensor(prediction.int()), MetaTensor(reference.int()), data_range=255)
    assert type(tracked) is torch.Tensor
    assert torch.equal(plain, tracked)


def test_units_and_arrows():
    assert metrics.MAE().unit_in("HU") == "HU"
    assert metrics.MSE().unit_in("HU") == "HU²"
    assert metrics.MAE().unit_in("") == "a.u."
    assert metrics.PSNR().unit_in("HU") == "dB"
    assert metrics.SSIM().arrow == "↑"
    assert metrics.LPIPS(random=0).arrow == "↓"
