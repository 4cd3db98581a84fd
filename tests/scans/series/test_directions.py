"""Directions and pixel sizes that differ within a series: one volume where no voxel moves, else refused or apart."""

import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series


def turned(angle):
    """Row and column direction after a turn about the column direction by ``angle`` rad."""
    return [f"{v:.10f}"[:16] for v in (np.cos(angle), 0, np.sin(angle), 0, 1, 0)]


def write_turned(make_series, angles, shape=(16, 12), spacing=(1.0, 1.0)):
    series = make_series(shape=(len(angles), *shape), spacing=spacing)
    for k, angle in enumerate(angles):
        series.write(k, ImageOrientationPatient=turned(angle))
    return series


def farthest(series, angles, affine):
    """mm between where headers put a corner of an image and where the affine (RAS) does, at most; images along z."""
    worst = 0.0
    rows, columns = series.pixels.shape[1:]
    for k, angle in enumerate(angles):
        for c in (0, columns - 1):
            for r in (0, rows - 1):
                across = np.array([np.cos(angle), 0, np.sin(angle)]) * c * series.spacing[1]
                lps = series.origin + k * series.step + across + np.array([0, r * series.spacing[0], 0])
                ras = affine @ [columns - 1 - c, rows - 1 - r, k, 1]
                worst = max(worst, np.linalg.norm(lps * [-1, -1, 1] - ras[:3]))
    return worst


@pytest.mark.parametrize(
    "angles",
    [
        [8e-4 * (-1) ** k for k in range(12)],
        np.random.default_rng(3).uniform(-8e-4, 8e-4, 24),
        [1e-4 * k for k in range(12)],  # a drift within what the affine holds
    ],
)
def test_directions_that_jitter_or_drift_a_little_are_one_volume_with_voxels_in_place(
    make_series, reference_image, angles
):
    series = write_turned(make_series, angles)
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert farthest(series, angles, volume.affine) < 0.1
    assert volume.metadata["warnings"] == []


def test_the_median_direction_is_taken_whatever_the_first_image_says(make_series):
    series = write_turned(make_series, [1.5e-3, *[0.0] * 10])
    [volume] = read_series(series.folder)
    np.testing.assert_allclose(volume.affine[:3, 0], [1, 0, 0], atol=1e-9)


@pytest.mark.parametrize("per_slice", [1e-4, 5e-4, 1.9e-3])
def test_a_drift_of_directions_that_moves_voxels_is_refused_with_the_distance(make_series, per_slice, tmp_path):
    angles = [per_slice * k for k in range(40)]
    series = write_turned(make_series, angles, shape=(4, 512))
    half = np.sin(per_slice * 19.5) * 511  # mm at the last column, from the median direction
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert row.status == "failed"
    assert "directions or pixel spacings of its images differ by up to" in row.reason
    told = float(row.reason.split("differ by up to ")[1].split()[0])
    assert told == pytest.approx(half, rel=0.02, abs=0.01)


def test_a_drift_below_a_quarter_of_a_pixel_is_told(make_series):
    angles = [2e-5 * k for k in range(40)]
    series = write_turned(make_series, angles, shape=(4, 512))
    [volume] = read_series(series.folder)
    assert "differ by up to 0.20 mm at their edge: the median is taken" in volume.metadata["warnings"][0]
    assert farthest(series, angles, volume.affine) < 0.21


def test_two_stacks_of_almost_one_direction_are_two_volumes(make_series, reference_image):
    first = make_series(shape=(5, 256, 256), seed=1)
    angle = 3e-3
    other = make_series(
        shape=(5, 256, 256), seed=2, origin=(0, 0, 40), orientation=(np.cos(angle), 0, np.sin(angle), 0, 1, 0)
    )
    for k in range(5):
        first.write(k, f"a{k}")
        other.write(k, f"b{k}", InstanceNumber=k + 6)
    one, two = read_series(first.folder)
    for volume, series in ((one, first), (two, other)):
        np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
        np.testing.assert_allclose(volume.affine, reference_image(series).affine, atol=1e-6)
        assert "holds images of 2 directions or pixel spacings" in volume.metadata["warnings"][0]


def test_an_image_of_another_direction_is_told(make_series):
    series = write_turned(make_series, [*[0.0] * 8, 0.1])
    volumes = read_series(series.folder)
    assert sorted(v.array.shape[2] for v in volumes) == [1, 8]
    assert all("holds images of 2 directions" in v.metadata["warnings"][0] for v in volumes)


def test_pixel_spacings_that_move_the_edge_are_not_one_volume(make_series):
    series = make_series(shape=(12, 4, 512))
    for k in range(12):
        series.write(k, PixelSpacing=[1.0, 1.0 if k < 6 else 1.0009])  # 0.46 mm at the last column
    one, other = read_series(series.folder)
    assert [one.spacing[0], other.spacing[0]] == pytest.approx([1.0, 1.0009], abs=1e-7)
    assert all("pixel spacings" in v.metadata["warnings"][0] for v in (one, other))


def test_pixel_spacings_rounded_in_another_way_are_one_volume(make_series):
    series = make_series(shape=(12, 4, 512))
    for k in range(12):
        series.write(k, PixelSpacing=["0.488281", "0.48828125" if k % 2 else "0.4883"])
    [volume] = read_series(series.folder)
    assert volume.array.shape == (512, 4, 12)


def test_a_creeping_pixel_spacing_is_refused(make_series):
    series = make_series(shape=(40, 4, 512))
    for k in range(40):
        series.write(k, PixelSpacing=[1.0, f"{1 + 9e-5 * k:.6f}"])
    with pytest.raises(InputError, match=r"differ by up to 0\.9\d mm at their edge: one affine cannot"):
        read_series(series.folder)


@pytest.mark.parametrize("per_slice", [{"turn": 0.02}, {"scale": 0.01}])
def test_planes_each_of_its_own_direction_or_size_are_refused_not_scattered(make_series, tmp_path, per_slice):
    series = make_series(shape=(8, 16, 12))
    for k in range(8):
        size = 1 + per_slice.get("scale", 0) * k
        series.write(k, ImageOrientationPatient=turned(per_slice.get("turn", 0) * k), PixelSpacing=[size, size])
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.files) == ("failed", 8)
    assert "8 planes, each of its own direction or pixel spacing" in row.reason


def time_points_turned(make_series, tag):
    for t in range(4):
        turn = 4e-3 * t
        across = (np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0)
        volume = make_series(shape=(6, 32, 32), seed=t, orientation=across, spacing=(6, 6))
        for k in range(6):
            volume.write(k, f"{t}-{k}", **{tag: t + 1})
    return volume


def test_time_points_turned_against_one_another_are_refused_as_moved_ones_are(make_series):
    volume = time_points_turned(make_series, "TemporalPositionIdentifier")
    with pytest.raises(InputError, match=r"its 4 time points .* are turned against one another"):
        read_series(volume.folder)


def test_scans_turned_against_one_another_are_volumes_and_told(make_series):
    volumes = read_series(time_points_turned(make_series, "AcquisitionNumber").folder)
    assert len(volumes) == 4
    for volume in volumes:
        assert "4 directions or pixel spacings, each a volume" in volume.metadata["warnings"][0]
