"""Slices of a few micrometres, as of micro CT, are slices and no time points."""

import numpy as np
import pytest

from medtrans.scans.convert import read_series


@pytest.mark.parametrize("step", [0.015, 0.009])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_slices_of_micrometres_are_one_volume_and_no_time_series(make_series, reference_image, modality, step):
    series = make_series(shape=(12, 8, 6), Modality=modality, step=step, spacing=(step, step))
    for k in range(12):
        series.write(k, RescaleSlope="1", RescaleIntercept="0", AcquisitionTime=f"1000{k:02d}")
    (volume,) = read_series(sorted(series.folder.iterdir()))
    expected = reference_image(series)
    assert volume.array.shape == expected.shape
    np.testing.assert_array_equal(volume.array, expected.get_fdata())
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-7)
