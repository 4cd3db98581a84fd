from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from medtrans.metrics.windows import filtered, gaussian, uniform


@pytest.mark.parametrize("window", [gaussian(11, 1.5), gaussian(3, 0.6), uniform(8), uniform(1)])
@pytest.mark.parametrize("shape", [(17, 20), (12, 15, 11)])
def test_filtering_is_scipys_correlation_where_the_window_fits(window, shape):
    image = np.random.default_rng(0).normal(size=shape)
    size, kernel = len(window), np.ones(())
    for _ in shape:
        kernel = np.multiply.outer(kernel, window.numpy())
    full = correlate(image, kernel, mode="constant")
    expected = full[tuple(slice(size // 2, size // 2 + length - size + 1) for length in shape)]
    assert np.allclose(filtered(torch.tensor(image)[None, None], window)[0, 0].numpy(), expected, atol=1e-12)


def test_windows_sum_to_one_and_are_symmetric():
    window = gaussian(11, 1.5)
    assert window.sum().item() == pytest.approx(1)
    assert torch.allclose(window, window.flip(0))
