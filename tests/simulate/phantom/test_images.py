"""Noise and blur are those of the physics they stand for."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medtrans.simulate.phantom.grid import Grid
from medtrans.simulate.phantom.images import MR_NOISE, PET_RESOLUTION, blurred, ct_image, mr_image, pet_image


def test_blur_is_a_gaussian_of_the_stated_width():
    grid = Grid.covering((2.0, 1.5, 2.5), (31, 41, 25))
    point = torch.zeros(grid.shape)
    point[15, 20, 12] = 1.0
    sigma = [PET_RESOLUTION / np.sqrt(8 * np.log(2)) / s for s in grid.spacing]
    expected = gaussian_filter(point.double().numpy(), sigma, truncate=8)
    np.testing.assert_allclose(blurred(point, grid, PET_RESOLUTION).numpy(), expected, atol=2e-4)
    assert float(blurred(torch.ones(grid.shape), grid, PET_RESOLUTION).min()) == pytest.approx(1, abs=1e-5)


def test_mr_noise_is_rician():
    deviation = MR_NOISE["T1"] * 1000
    background = mr_image(torch.zeros(60, 60, 60), "T1", np.random.default_rng(0)).numpy()
    assert background.mean() == pytest.approx(deviation * np.sqrt(np.pi / 2), rel=0.01)  # Rayleigh
    signal = mr_image(torch.full((60, 60, 60), 500.0), "T1", np.random.default_rng(0)).numpy()
    assert signal.std() == pytest.approx(deviation, rel=0.01)


def test_ct_stays_within_twelve_bits():
    numbers = ct_image(torch.tensor([[[-5000.0, 0.0, 9000.0]]]), None)
    assert numbers.flatten().tolist() == [-1024, 0, 3071]


def test_pet_noise_grows_with_the_root_of_the_activity():
    grid = Grid.covering(2.0, (48, 48, 48))
    relative = {}
    for activity in (2.0, 8.0):
        image = pet_image(torch.full(grid.shape, activity), grid, np.random.default_rng(1)).numpy()
        assert image.mean() == pytest.approx(activity, rel=0.02)
        relative[activity] = image.std() / activity
    assert relative[8.0] == pytest.approx(0.06, rel=0.1)
    assert relative[2.0] / relative[8.0] == pytest.approx(2, rel=0.05)
