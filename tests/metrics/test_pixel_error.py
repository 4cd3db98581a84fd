from __future__ import annotations

import numpy as np
import pytest
from monai.metrics import MAEMetric, MSEMetric
from skimage.metrics import mean_squared_error

from medtrans import metrics


def test_mean_absolute_and_squared_error_agree_with_numpy_monai_and_scikit_image(pair):
    prediction, reference, mask = pair.tensors()
    difference = pair.prediction - pair.reference
    mae, mse = (metric(prediction, reference, data_range=1.0).item() for metric in (metrics.MAE(), metrics.MSE()))
    assert mae == pytest.approx(np.abs(difference).mean())
    assert mae == pytest.approx(MAEMetric()(prediction, reference).item(), rel=1e-5)
    assert mse == pytest.approx(mean_squared_error(pair.reference, pair.prediction))
    assert mse == pytest.approx(MSEMetric()(prediction, reference).item(), rel=1e-5)
    masked = metrics.MAE()(prediction, reference, data_range=1.0, mask=mask).item()
    assert masked == pytest.approx(np.abs(difference)[pair.mask > 0].mean())
    root = metrics.RMSE()(prediction, reference, data_range=1.0, mask=mask).item()
    assert root == pytest.approx(np.sqrt((difference[pair.mask > 0] ** 2).mean()))


def test_mse_of_the_medgan_tables_is_that_of_images_scaled_to_255(pair):
    hu = [array * 3000 - 1000 for array in (pair.prediction, pair.reference)]
    prediction, reference = (tensor * 3000 - 1000 for tensor in pair.tensors()[:2])
    scaled = [(array + 1000) / 3000 * 255 for array in hu]
    value = metrics.MSE255()(prediction, reference, data_range=(-1000, 2000)).item()
    assert value == pytest.approx(((scaled[0] - scaled[1]) ** 2).mean())
