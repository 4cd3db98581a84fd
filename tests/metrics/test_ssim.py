from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import MultiScaleSSIMMetric, SSIMMetric
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from medtrans import metrics


def scikit_image_map(prediction: np.ndarray, reference: np.ndarray, data_range: float) -> np.ndarray:
    _, full = structural_similarity(
        reference, prediction, data_range=data_range, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    return full[tuple(slice(5, -5) for _ in reference.shape)]


def test_it_agrees_with_scikit_image_and_monai(pair):
    prediction, reference, mask = pair.tensors()
    value, masked = metrics.SSIM().in_regions(prediction, reference, data_range=1.0, masks=[None, mask])
    expected = scikit_image_map(pair.prediction, pair.reference, 1.0)
    assert value.item() == pytest.approx(expected.mean(), abs=1e-9)
    inside = pair.mask[tuple(slice(5, -5) for _ in pair.mask.shape)] > 0
    assert masked.item() == pytest.approx(expected[inside].mean(), abs=1e-9)
    monai = SSIMMetric(spatial_dims=pair.mask.ndim, data_range=1.0)(prediction, reference)
    assert value.item() == pytest.approx(monai.item(), abs=1e-4)


def test_hounsfield_units_are_measured_from_the_lower_end_of_the_window(pair):
    prediction, reference, _ = pair.tensors()
    value = metrics.SSIM()(prediction * 4095 - 1024, reference * 4095 - 1024, data_range=(-1024, 3071)).item()
    expected = scikit_image_map(pair.prediction * 4095, pair.reference * 4095, 4095)
    assert value == pytest.approx(expected.mean(), abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.floats(0.1, 5000))
def test_it_is_symmetric_and_bounded(seed, width):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(2, 1, 15, 14, generator=generator) * width for _ in range(2))
    there, back = metrics.SSIM()(x, y, data_range=width), metrics.SSIM()(y, x, data_range=width)
    assert torch.allclose(there, back, rtol=1e-12)
    assert (there.abs() <= 1).all()
    assert torch.allclose(metrics.SSIM()(x, x, data_range=width), torch.ones(2, dtype=torch.float64))


def large_pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(5)
    reference = gaussian_filter(generator.normal(size=(2, 1, 192, 208)), (0, 0, 2, 2)) * 2 + 0.5
    prediction = reference + gaussian_filter(generator.normal(size=reference.shape), (0, 0, 1, 1)) * 0.3
    return torch.tensor(prediction.clip(0, 1)), torch.tensor(reference.clip(0, 1))


def test_multi_scale_ssim_agrees_with_torchmetrics_and_monai():
    prediction, reference = large_pair()
    value = metrics.MultiScaleSSIM()(prediction, reference, data_range=1.0)
    monai = MultiScaleSSIMMetric(spatial_dims=2, data_range=1.0)(prediction, reference)
    assert torch.allclose(value, monai.flatten().double(), atol=5e-4)
    other = multiscale_structural_similarity_index_measure(prediction, reference, data_range=1.0, reduction="none")
    assert torch.allclose(value, other, atol=2e-3)  # torchmetrics pads


def test_multi_scale_ssim_inside_a_mask_sees_only_the_mask():
    prediction, reference = large_pair()
    mask = torch.zeros_like(reference)
    mask[..., :100, :] = 1
    half = prediction.clone()
    half[..., 190:, :] = 0
    whole, masked = metrics.MultiScaleSSIM().in_regions(half, reference, data_range=1.0, masks=[None, mask])
    before = metrics.MultiScaleSSIM()(prediction, reference, data_range=1.0, mask=mask)
    assert (whole < metrics.MultiScaleSSIM()(prediction, reference, data_range=1.0)).all()
    # the fifth scale's window spans 176 pixels: the spoilt rows are within its reach only at the far end
    assert torch.allclose(masked, before, atol=0.02)


def test_images_too_small_for_five_scales_are_refused():
    image = torch.rand(1, 1, 175, 200)
    with pytest.raises(ValueError, match="at least 176 voxels"):
        metrics.MultiScaleSSIM()(image, image, data_range=1.0)
