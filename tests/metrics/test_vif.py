from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d
from torchmetrics.functional.image import visual_information_fidelity

from medtrans import metrics


def in_every_window(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Weighted mean in every window that fits."""
    margin = len(kernel) // 2
    for axis in range(image.ndim):
        image = convolve1d(image, kernel, axis=axis, mode="constant")
    return image[tuple(slice(margin, -margin) for _ in image.shape)]


def transcribed_vif(reference: np.ndarray, distorted: np.ndarray, mask: np.ndarray | None = None) -> float:
    """The authors' vifp_mscale in NumPy, for images in 0-255, extended to 3D and to a mask of window centres."""
    shared = total = 0.0
    mask = np.ones(reference.shape, bool) if mask is None else mask > 0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        offsets = np.arange(size) - size // 2
        kernel = np.exp(-(offsets**2) / (2 * (size / 5) ** 2))
        kernel /= kernel.sum()
        crop = tuple(slice(size // 2, -(size // 2)) for _ in reference.shape)
        if scale > 1:
            second = (slice(None, None, 2),) * reference.ndim
            reference, distorted = (in_every_window(image, kernel)[second] for image in (reference, distorted))
            mask = mask[crop][second]
        mean_r, mean_d = in_every_window(reference, kernel), in_every_window(distorted, kernel)
        var_r = np.maximum(in_every_window(reference**2, kernel) - mean_r**2, 0)
        var_d = np.maximum(in_every_window(distorted**2, kernel) - mean_d**2, 0)
        cov = in_every_window(reference * distorted, kernel) - mean_r * mean_d
        g = cov / (var_r + 1e-10)
        sv = var_d - g * cov
        g[var_r < 1e-10] = 0
        sv[var_r < 1e-10] = var_d[var_r < 1e-10]
        var_r[var_r < 1e-10] = 0
        g[var_d < 1e-10] = 0
        sv[var_d < 1e-10] = 0
        sv[g < 0] = var_d[g < 0]
        g[g < 0] = 0
        sv[sv <= 1e-10] = 1e-10
        shared += np.log10(1 + g**2 * var_r / (sv + 2))[mask[crop]].sum()
        total += np.log10(1 + var_r / 2)[mask[crop]].sum()
    return shared / total


def test_it_agrees_with_the_authors_code_transcribed(pair):
    prediction, reference, mask = pair.tensors()
    whole, masked = metrics.VIF().in_regions(prediction, reference, data_range=1.0, masks=[None, mask])
    assert whole.item() == pytest.approx(transcribed_vif(pair.reference * 255, pair.prediction * 255), abs=1e-9)
    expected = transcribed_vif(pair.reference * 255, pair.prediction * 255, pair.mask)
    assert masked.item() == pytest.approx(expected, abs=1e-9)


def test_it_agrees_with_torchmetrics_on_images_scaled_to_255(pair_2d):
    prediction, reference, _ = pair_2d.tensors()
    value = metrics.VIF()(prediction, reference, data_range=1.0).item()
    assert value == pytest.approx(visual_information_fidelity(prediction * 255, reference * 255).item(), abs=1e-9)
    assert value != pytest.approx(visual_information_fidelity(prediction, reference).item(), abs=1e-2)


def test_more_blur_keeps_less_and_more_contrast_gives_more_than_one(pair_2d):
    _, reference, _ = pair_2d.tensors()
    blur = torch.nn.functional.avg_pool2d
    values = [metrics.VIF()(blur(reference, k, 1, k // 2), reference, data_range=1.0).item() for k in (1, 5, 9, 15)]
    assert values == sorted(values, reverse=True)
    assert metrics.VIF()((reference - 0.5) * 1.5 + 0.5, reference, data_range=1.0) > 1


def test_a_flat_reference_holds_no_information():
    flat = torch.full((1, 1, 48, 48), 0.5)
    assert torch.isnan(metrics.VIF()(torch.rand(1, 1, 48, 48), flat, data_range=1.0)).all()


def test_an_image_smaller_than_41_is_refused():
    image = torch.rand(1, 1, 40, 64)
    with pytest.raises(ValueError, match="at least 41"):
        metrics.VIF()(image, image, data_range=1.0)
