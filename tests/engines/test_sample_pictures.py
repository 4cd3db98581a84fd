"""Sample pictures: the right way up, in the right order."""

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from medtrans.engines import SamplePictures
from medtrans.engines.sample_pictures import comparison_row, seen_upright


def test_front_is_up_and_right_is_right():
    image = torch.full((1, 4, 6), -1.0)
    image[0, 3, 5] = 1.0  # rightmost, frontmost
    seen = seen_upright(image)
    assert seen.shape == (1, 6, 4)
    assert seen[0, 0, 3] == 1.0
    assert seen.sum() == 1.0


def test_volumes_show_their_middle_slice_and_channels_their_first():
    volume = torch.zeros(2, 4, 6, 5)
    volume[0, ..., 2] = 1.0
    assert seen_upright(volume).mean() == 1.0


def test_error_is_the_absolute_difference():
    source, synthetic, target = (torch.full((1, 2, 2), value) for value in (0.0, 0.5, -0.5))
    *_, error = comparison_row(source, synthetic, target)
    assert error.mean() == pytest.approx(1.0)
    *_, none = comparison_row(source, target, target)
    assert none.abs().sum() == 0


def test_a_grid_with_a_row_a_sample_is_written(tmp_path):
    def step(engine, number):
        engine.state.batch = number
        return [{"image": torch.zeros(1, 8, 8), "pred": torch.ones(1, 8, 8), "label": torch.zeros(1, 8, 8)}]

    engine = Engine(step)
    engine.state.rank = 0
    SamplePictures(tmp_path, count=3).attach(engine)
    engine.run(range(9), max_epochs=1)
    grid = np.asarray(Image.open(tmp_path / "pictures/epoch_0001.png"))
    assert grid.shape[:2] == (3 * 10 + 2, 4 * 10 + 2)  # torchvision puts two pixels between pictures
    assert list(tmp_path.glob("events.out.tfevents.*"))
