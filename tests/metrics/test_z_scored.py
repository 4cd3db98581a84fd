from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore
from skimage.metrics import peak_signal_noise_ratio

from medtrans import metrics


def test_both_agree_with_scipys_z_scores(pair):
    prediction, reference, mask = pair.tensors()
    x, y = zscore(pair.prediction, axis=None), zscore(pair.reference, axis=None)
    assert metrics.ZScoredMAE()(prediction, reference, data_range=1.0).item() == pytest.approx(np.abs(x - y).mean())
    value = metrics.ZScoredPSNR()(prediction, reference, data_range=1.0).item()
    # the reference spans exactly the data range, so that its normalised span is the peak
    assert value == pytest.approx(peak_signal_noise_ratio(y, x, data_range=np.ptp(y)))
    inside = pair.mask > 0
    x, y = zscore(pair.prediction[inside]), zscore(pair.reference[inside])
    masked = metrics.ZScoredMAE()(prediction, reference, data_range=1.0, mask=mask).item()
    assert masked == pytest.approx(np.abs(x - y).mean())
    peak = 1 / pair.reference[inside].std()
    masked = metrics.ZScoredPSNR()(prediction, reference, data_range=1.0, mask=mask).item()
    assert masked == pytest.approx(peak_signal_noise_ratio(y, x, data_range=peak))


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 1000), shift=st.floats(-1000, 1000))
def test_gain_and_offset_of_the_prediction_do_not_matter(scale, shift):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 1, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2))
    metric = metrics.ZScoredMAE()
    assert metric(x * scale + shift, y, data_range=1.0).item() == pytest.approx(
        metric(x, y, data_range=1.0).item(), rel=1e-6
    )


def test_a_constant_prediction_counts_as_its_mean():
    reference = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = metrics.ZScoredMAE()(torch.full_like(reference, 0.3), reference, data_range=1.0).item()
    assert value == pytest.approx(np.abs(zscore(reference.numpy(), axis=None)).mean())
