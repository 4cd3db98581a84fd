from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medtrans.reports.pictures import error_map, translation_figure


@pytest.fixture
def volumes() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-1000, 2000, (20, 24, 16)) for _ in range(3)]


def images(figure) -> list:
    return [axes for axes in figure.axes if axes.images]


def test_four_columns_and_three_planes_with_colour_bars_in_their_units(volumes, tmp_path):
    path = tmp_path / "deep" / "case.png"
    figure = translation_figure(
        *volumes, path, target_range=(-1000, 2000), source_range=(0, 400), unit="HU", source_unit="SUV"
    )
    shown = images(figure)
    assert len(shown) == 12
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels == ["SUV", "HU", "HU", "HU"]
    assert shown[0].images[0].get_clim() == (0, 400)
    assert shown[9].images[0].get_clim() == (-750, 750)
    with Image.open(path) as picture:
        assert picture.width > picture.height / 2
    assert [name.name for name in path.parent.iterdir()] == ["case.png"]


def test_planes_are_seen_from_the_feet_and_go_through_the_middle_of_the_mask(volumes):
    mask = np.zeros(volumes[0].shape, bool)
    mask[5:8, 10:13, 3:6] = True
    shown = images(translation_figure(*volumes, target_range=(-1000, 2000), mask=mask))
    source = volumes[0]
    # top row is the front, left column the patient's right: the highest indices of RAS axes
    assert np.allclose(shown[0].images[0].get_array(), source[::-1, ::-1, 4].T)
    assert np.allclose(shown[1].images[0].get_array(), source[::-1, 11, ::-1].T)
    assert np.allclose(shown[2].images[0].get_array(), source[6, ::-1, ::-1].T)
    assert shown[0].images[0].get_array()[0, 0] == source[-1, -1, 4]


def test_voxels_keep_their_proportions(volumes):
    shown = images(translation_figure(*volumes, target_range=(0, 1), spacing=(1.0, 1.0, 5.0)))
    assert shown[1].images[0].get_extent() == [0, 20, 0, 80]
    assert shown[1].get_aspect() == 1


def test_without_source_and_with_one_slice_there_are_three_pictures(volumes):
    figure = translation_figure(None, *[volume[..., :1] for volume in volumes[1:]], target_range=(0, 1))
    assert len(images(figure)) == 3


def test_error_maps():
    target, synthetic = np.array([0.0, 1.0, 2.0, 5.0]), np.array([0.0, 2.0, 0.0, 6.0])
    assert error_map(synthetic, target).tolist() == [0, 1, -2, 1]
    assert error_map(synthetic, target, "absolute").tolist() == [0, 1, 2, 1]
    x, y = ((image - image.mean()) / image.std() for image in (synthetic, target))
    with np.errstate(divide="ignore"):
        expected = np.clip(np.abs(x - y) / np.abs(y), 0, 2)
    assert error_map(synthetic, target, "relative") == pytest.approx(expected)
    assert np.isfinite(error_map(synthetic, np.array([0.0, 2.0, 2.0, 4.0]), "relative")).all()
    with pytest.raises(ValueError, match="choose difference, absolute or relative"):
        error_map(synthetic, target, "squared")
