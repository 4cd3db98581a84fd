"""The picture of a case shows every modality in three planes."""

import numpy as np
import pytest
from matplotlib.image import imread

from medtrans.cohorts.case_picture import case_picture, middle_of
from medtrans.transforms import Window


def test_middle_of_the_mask():
    mask = np.zeros((20, 30, 40), bool)
    mask[4:9, 10:21, 30:] = True
    assert middle_of(mask) == (6, 15, 34)
    assert middle_of(np.zeros((20, 30, 40), bool)) == (10, 15, 20)


@pytest.mark.parametrize("modalities", [("T1",), ("T1", "CT", "PET")])
def test_picture_grows_with_the_modalities_and_shows_the_values(tmp_path, modalities):
    mask = np.zeros((20, 30, 40), np.uint8)
    mask[5:15, 5:25, 5:35] = 1
    volumes = {name: mask.astype(np.float32) * 100 for name in modalities}
    windows = {name: Window(0, 100) for name in modalities}
    picture = imread(case_picture(tmp_path / "qa" / "a.png", volumes, windows, mask, (1, 1, 2), "a"))
    assert picture.shape[1] == 240 * len(modalities)
    assert (picture[..., :3] < 0.05).all(-1).mean() > 0.05  # black around a white body
    assert not list(tmp_path.rglob(".partial*"))
