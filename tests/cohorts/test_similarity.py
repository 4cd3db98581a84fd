import numpy as np
import pytest

from medtrans.cohorts.similarity import mutual_information, robust_range

EVERYWHERE = np.ones((60, 60, 60), bool)


@pytest.mark.parametrize("correlation", [0.3, 0.7, 0.95])
def test_gaussian_volumes_have_the_mutual_information_of_the_textbook(correlation):
    rng = np.random.default_rng(0)
    first, noise = rng.normal(size=(2, 60, 60, 60))
    second = correlation * first + np.sqrt(1 - correlation**2) * noise
    expected = -0.5 * np.log(1 - correlation**2)
    assert mutual_information(first, second, EVERYWHERE) == pytest.approx(expected, abs=0.03)


def test_it_is_the_entropy_of_a_volume_with_itself_and_blind_to_contrast():
    labels = np.random.default_rng(1).integers(0, 4, (60, 60, 60))
    swapped = np.array([9.0, -3.0, 4.0, 0.5])[labels]
    assert mutual_information(labels, labels, EVERYWHERE) == pytest.approx(np.log(4), abs=1e-3)
    assert mutual_information(labels, swapped, EVERYWHERE) == pytest.approx(np.log(4), abs=1e-3)


def test_only_the_mask_counts_and_an_empty_mask_counts_all():
    rng = np.random.default_rng(2)
    first = rng.integers(0, 8, (60, 60, 60))
    second = np.where(np.arange(60)[:, None, None] < 30, first, rng.integers(0, 8, (60, 60, 60)))
    mask = EVERYWHERE * (np.arange(60)[:, None, None] < 30)
    assert mutual_information(first, second, mask) == pytest.approx(np.log(8), abs=1e-2)
    assert mutual_information(first, second, 0 * mask) == mutual_information(first, second, EVERYWHERE)
    assert mutual_information(first, np.zeros_like(first), EVERYWHERE) == 0.0


def test_robust_range_ignores_a_few_outliers():
    values = np.random.default_rng(3).uniform(0, 1, (20, 20, 20))
    values[0, 0, 0], values[1, 1, 1] = 1e6, -1e6
    lower, upper = robust_range(values)
    assert -0.01 < lower < upper < 1.01
    assert robust_range(np.where(values > 1e5, 5.0, 0.0)) == (0.0, 5.0)
