"""Diversity of synthetic images: NumPy's variance across images, against that of real ones."""

import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from medtrans.engines import Diversity


@pytest.fixture
def diversity(measured):
    return lambda synthetic, real: measured({"diversity": Diversity()}, pred=synthetic, label=real)["diversity"]


@pytest.mark.parametrize("shape", [(7, 1, 5, 6), (4, 2, 3, 4, 5)])
def test_it_is_the_ratio_of_numpys_deviations_across_images(diversity, shape):
    random = np.random.default_rng(0)
    synthetic, real = random.normal(0.5, 0.1, shape), random.normal(-0.2, 0.7, shape)
    expected = math.sqrt(synthetic.var(0).mean() / real.var(0).mean())
    assert diversity(torch.tensor(synthetic), torch.tensor(real)) == pytest.approx(expected, rel=1e-9)


def test_images_like_the_real_ones_in_another_order_have_one_and_a_collapsed_generator_none(diversity):
    real = torch.rand(6, 1, 8, 8)
    assert diversity(real.flip(0), real) == pytest.approx(1)
    assert diversity(real[:1].expand(6, -1, -1, -1), real) == pytest.approx(0, abs=1e-6)


def test_one_image_says_nothing(diversity):
    assert math.isnan(diversity(torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)))


def test_a_second_validation_starts_anew():
    engine = Engine(lambda _, items: items)
    Diversity().attach(engine, "diversity")
    real = torch.rand(4, 1, 4, 4)
    for synthetic in (real * 0, real):
        engine.run([[{"pred": p, "label": y} for p, y in zip(synthetic, real, strict=True)]])
    assert engine.state.metrics["diversity"] == pytest.approx(1)
