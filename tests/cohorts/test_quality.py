import matplotlib.image
import numpy as np

from medtrans.cohorts.quality import _checkerboard, draw_case
from medtrans.transforms import Window


def test_the_picture_shows_every_modality_and_changes_with_a_shift(tmp_path):
    first = np.zeros((40, 50, 30), np.float32)
    first[10:30, 15:35, 5:25] = 80.0
    windows = {"T1": Window(0, 100), "CT": Window(-1000, 1000, "HU")}
    pictures = []
    for shift in (0, 6):
        second = np.roll(first, shift, axis=0) * 20 - 1000
        path = tmp_path / "qa" / f"{shift}.png"
        draw_case(path, "case", {"T1": first, "CT": second}, windows, (first > 0).astype(np.uint8), (1.0, 1.0, 2.0))
        pictures.append(matplotlib.image.imread(path))
    aligned, shifted = pictures
    assert aligned.shape == shifted.shape
    assert aligned.shape[1] > 900  # four columns
    columns = np.array_split(np.abs(aligned - shifted).sum(axis=(0, 2)), 4)
    assert columns[0].sum() == 0  # the reference does not change
    assert all(column.sum() > 0 for column in columns[1:])


def test_one_modality_alone_is_drawn(tmp_path):
    volume = np.random.default_rng(0).uniform(size=(20, 20, 20)).astype(np.float32)
    draw_case(tmp_path / "a.png", "a", {"T1": volume}, {"T1": Window(0, 1)}, np.zeros((20, 20, 20)), (1, 1, 1))
    assert matplotlib.image.imread(tmp_path / "a.png").std() > 0


def test_fields_of_the_checkerboard_are_square_in_millimetres():
    board = _checkerboard((64, 32), [2.0, 1.0])  # columns 2 mm, rows 1 mm: fields of 16 columns and 32 rows
    assert board[0, 0]
    assert board[31, 15]
    assert not board[0, 16]
    assert not board[32, 0]
    assert board.mean() == 0.5
