from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import PSNRMetric
from skimage.metrics import peak_signal_noise_ratio

from medtrans import metrics


def test_it_agrees_with_scikit_image_and_monai(pair):
    prediction, reference, mask = pair.tensors()
    value = metrics.PSNR()(prediction, reference, data_range=1.0).item()
    assert value == pytest.approx(peak_signal_noise_ratio(pair.reference, pair.prediction, data_range=1.0))
    assert value == pytest.approx(PSNRMetric(max_val=1.0)(prediction, reference).item(), rel=1e-5)
    inside = pair.mask > 0
    masked = peak_signal_noise_ratio(pair.reference[inside], pair.prediction[inside], data_range=1.0)
    assert metrics.PSNR()(prediction, reference, data_range=1.0, mask=mask).item() == pytest.approx(masked)


def test_it_follows_synthrad_in_hounsfield_units(pair):
    """Clipped to [-1024, 3000], peak 4024, inside the mask."""
    prediction, reference, mask = pair.tensors()
    to_hu = lambda values: values * 5000 - 1500  # noqa: E731
    clipped = [np.clip(to_hu(array), -1024, 3000)[pair.mask > 0] for array in (pair.prediction, pair.reference)]
    expected = 10 * np.log10(4024**2 / ((clipped[0] - clipped[1]) ** 2).mean())
    value = metrics.PSNR()(to_hu(prediction), to_hu(reference), data_range=(-1024, 3000), mask=mask)
    assert value.item() == pytest.approx(expected)


def test_an_identical_pair_is_infinite():
    image = torch.rand(2, 1, 9, 9)
    assert torch.isposinf(metrics.PSNR()(image, image, data_range=1.0)).all()
