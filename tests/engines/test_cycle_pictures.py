"""There and back: what the evaluator's output holds, and the pictures of it."""

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from PIL import Image
from torch import nn

from medtrans.engines import CyclePictures, ThereAndBack
from medtrans.engines.sample_pictures import seen_upright


class Scale(nn.Module):
    """Multiplies; counts its calls, and remembers whether it was in training mode."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.calls, self.trained = nn.Parameter(torch.tensor(factor)), 0, []

    def forward(self, image):
        self.calls += 1
        self.trained.append(self.training)
        return image * self.factor


def evaluated(batches, to_target, to_source):
    evaluator = SupervisedEvaluator(
        torch.device("cpu"), batches, to_target, iteration_update=ThereAndBack(to_target, to_source)
    )
    evaluator.run()
    return evaluator.state.output


def test_every_image_goes_there_and_back_in_both_directions_in_evaluation_mode():
    there, back = Scale(0.5), Scale(-1.0)
    source, target = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    output = evaluated([{"source": source, "target": target}], there, back)
    assert len(output) == 2  # decollated: an item an image
    for place, item in enumerate(output):
        x, y = source[place], target[place]
        expected = {"image": x, "pred": x / 2, "cycled": -x / 2, "label": y, "pred_source": -y, "cycled_label": -y / 2}
        assert item.keys() == expected.keys()
        for name, image in expected.items():
            torch.testing.assert_close(item[name], image, msg=name)
            assert not item[name].requires_grad
    assert there.calls == back.calls == 2
    assert there.trained == back.trained == [False, False]
    assert there.training


def test_plain_functions_serve_where_one_network_goes_both_ways():
    network = Scale(0.5)
    output = evaluated([{"source": torch.ones(1, 1, 2, 2), "target": torch.ones(1, 1, 2, 2)}], network, lambda x: -x)
    assert output[0]["cycled"].mean() == pytest.approx(-0.5)


@pytest.mark.parametrize("computed", [True, False])
def test_a_row_shows_both_images_their_translations_the_ways_back_and_the_errors(tmp_path, computed):
    there, back = Scale(0.5), Scale(1.0)
    x, y = torch.rand(1, 6, 5), torch.rand(1, 6, 5) - 1
    sample = {"image": x, "label": y, "pred": x / 2}
    if computed:
        sample |= {"cycled": x / 2, "pred_source": y, "cycled_label": y / 2}
    row = CyclePictures(tmp_path, there, back).row(sample)
    expected = [x, x / 2, x / 2, x.abs() - 1, y, y, y / 2, y.abs() - 1]  # an error of 1 is white
    assert len(row) == CyclePictures.columns
    for seen, image in zip(row, expected, strict=True):
        torch.testing.assert_close(seen, seen_upright(image))
    assert (there.calls, back.calls) == ((0, 0) if computed else (1, 2))
    assert there.training


def test_only_the_samples_that_are_shown_are_translated(tmp_path):
    engine = Engine(
        lambda *_: [{"image": torch.zeros(1, 8, 8), "pred": torch.ones(1, 8, 8), "label": torch.zeros(1, 8, 8)}]
    )
    engine.state.rank = 0
    there, back = Scale(0.5), Scale(1.0)
    CyclePictures(tmp_path, there, back, count=3).attach(engine)
    engine.run(range(9), max_epochs=1)
    assert (there.calls, back.calls) == (3, 6)
    grid = np.asarray(Image.open(tmp_path / "pictures/epoch_0001.png"))
    assert grid.shape[:2] == (3 * 10 + 2, 8 * 10 + 2)
