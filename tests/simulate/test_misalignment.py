"""Made misalignment: as large, as smooth and as reproducible as it says, and its sign."""

import numpy as np
import pytest

from medtrans.simulate.misalignment import displaced, smooth_displacement


@pytest.mark.parametrize(("shape", "spacing"), [((40, 50), (2.0, 3.0)), ((20, 24, 18), (3.5, 3.5, 3.5))])
def test_its_root_mean_square_is_the_magnitude_in_mm(shape, spacing):
    field = smooth_displacement(shape, spacing, 4.0, seed=3)
    assert field.shape == (len(shape), *shape)
    assert np.sqrt((field**2).sum(axis=0).mean()) == pytest.approx(4.0)
    assert np.array_equal(field, smooth_displacement(shape, spacing, 4.0, seed=3))
    assert not np.allclose(field, smooth_displacement(shape, spacing, 4.0, seed=4))


def test_it_is_as_smooth_as_asked_and_folds_nothing():
    shape, spacing = (64, 64), (3.5, 3.5)
    field = smooth_displacement(shape, spacing, 8.0, scale=25.0, seed=0)
    change = np.gradient(field[0] / spacing[0], axis=0)
    # white noise smoothed by a Gaussian of standard deviation s has a derivative of its own root mean square / (√2 s)
    assert change.std() == pytest.approx(field[0].std() / (np.sqrt(2) * 25.0), rel=0.35)
    determinant = np.linalg.det(
        np.moveaxis(
            [[np.gradient(field[i] / 3.5, axis=j) + (i == j) for j in range(2)] for i in range(2)], (0, 1), (2, 3)
        )
    )
    assert determinant.min() > 0.2


def test_it_stays_within_the_axes_asked_for():
    field = smooth_displacement((10, 12, 8), (3.0, 3.0, 3.0), 5.0, axes=(0, 1))
    assert not field[2].any()
    assert np.sqrt((field**2).sum(axis=0).mean()) == pytest.approx(5.0)


def test_the_volume_shows_what_lay_at_the_displaced_place():
    volume = np.arange(10.0)[:, None] * np.ones((10, 6))
    shift = np.zeros((2, 10, 6))
    shift[0] = 4.0  # mm, two voxels
    found = displaced(volume, shift, (2.0, 2.0))
    np.testing.assert_allclose(found[:8], volume[2:], atol=1e-5)
    np.testing.assert_allclose(found[8:], 9.0)
    assert found.dtype == volume.dtype


def test_values_stay_within_the_range_there_was():
    volume = (np.random.default_rng(0).random((20, 20, 20)) > 0.5).astype(np.float32)
    found = displaced(volume, smooth_displacement(volume.shape, (1, 1, 1), 2.0, scale=3.0), (1, 1, 1))
    assert found.min() >= 0
    assert found.max() <= 1
