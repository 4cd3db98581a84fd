"""Even, uneven and missing planes, told from closed-form positions and by brute force."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans import Conversion, read_series
from medtrans.scans.space.distances import even_places, how_uneven, is_even, largest_run, usual_distance

ONE_FIXTURE = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LARGEST_RUN = Conversion(gaps="largest-run")


def told(places):
    return how_uneven(places, [f"z = {place:.3f}" for place in places])


@given(step=st.floats(0.42, 8), start=st.floats(-1500, 1500), count=st.integers(2, 600), digits=st.integers(1, 6))
def test_rounding_of_positions_is_no_gap(step, start, count, digits):
    assert is_even(np.round(start + step * np.arange(count), digits))


@given(step=st.floats(0.42, 8), start=st.floats(-1500, 1500), count=st.integers(5, 400), digits=st.integers(1, 6),
       data=st.data())  # fmt: skip
def test_missing_planes_are_counted_whatever_the_rounding(step, start, count, digits, data):
    inner = st.sets(st.integers(1, count - 2), min_size=1, max_size=max(1, count // 5))
    missing = data.draw(inner)
    kept = sorted(set(range(count)) - missing)
    places = np.round(start + step * np.arange(count), digits)[kept]
    places -= places[0]
    assume((np.diff(kept) == 1).sum() >= max(2, len(places) / 2))
    assert not is_even(places)
    numbers, spacing = even_places(places)
    np.testing.assert_array_equal(numbers, np.array(kept))
    assert spacing == pytest.approx(step, abs=0.11 / (count - 1))


def brute_force(places):
    """The most planes that follow one another evenly, by trying every stretch."""
    stretches = [(i, j) for i in range(len(places)) for j in range(i + 1, len(places) + 1)]
    return max(j - i for i, j in stretches if is_even(places[i:j]))


@given(distances=st.lists(st.sampled_from([1.0, 1.01, 2.0, 2.03, 5.0, 7.5]), min_size=3, max_size=25))
def test_no_even_run_is_longer_than_the_one_chosen(distances):
    places = np.concatenate([[0], np.cumsum(distances)])
    longest = brute_force(places)
    if longest < 3:
        with pytest.raises(InputError, match="no 3 of its"):
            largest_run(places)
        return
    run = largest_run(places)
    assert is_even(places[run[0] : run[-1] + 1])
    assert len(run) == longest


def test_of_equally_long_runs_the_one_that_spans_most_is_chosen():
    assert largest_run(np.array([0, 2, 4, 6, 16, 26, 36.0])) == range(3, 7)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([0, 5, 10, 20], "4 slices are not evenly spaced: mostly 5.000 mm apart, "
                         "but 10.000 after slice 3 (z = 10.000): 1 slice is missing"),
        ([0, 1, 2, 6, 7, 8, 9, 11, 12], "mostly 1.000 mm apart, but 4.000 after slice 3 (z = 2.000), "
                                       "2.000 after slice 7 (z = 9.000): 4 slices are missing"),
        ([0, 5, 10, 15, 20, 30, 40, 50], "8 slices are not evenly spaced: 5 5.000 mm apart from slice 1 (z = 0.000), "
                                         "4 10.000 mm apart from slice 5 (z = 20.000)"),
        ([0, 1, 2, 2.7, 4, 5, 6], "mostly 1.000 mm apart, but 0.700 after slice 3 (z = 2.000), "
                                  "1.300 after slice 4 (z = 2.700)"),
        (np.cumsum(np.linspace(1, 1.01, 101)) - 1, "distances of 1.000 to 1.010 mm drift 0.125 mm away"),
    ],
)  # fmt: skip
def test_refusals_give_the_numbers(places, expected):
    text = told(np.array(places, float))
    assert text.endswith(expected)
    assert ("missing" in text) == ("missing" in expected)


def test_the_usual_distance_loses_no_measured_plane():
    assert usual_distance(np.array([0, 5, 10, 15, 25, 35, 45, 55, 65.0])) == 5
    assert usual_distance(np.array([0, 10, 20, 22, 32, 42.0])) == 10  # one odd distance is not usual
    assert usual_distance(np.array([0, 5, 15.0])) == 5


@ONE_FIXTURE
@given(decimals=st.sampled_from([1, 2, 3]), count=st.integers(20, 60), step=st.sampled_from([0.625, 1.33333, 0.7]))
def test_positions_rounded_in_headers_are_kept_even(make_series, tmp_path_factory, decimals, count, step):
    series = make_series(np.ones((count, 2, 2), np.uint16), step=step)
    series.folder = tmp_path_factory.mktemp("rounded")
    for k in range(count):
        series.write(k, ImagePositionPatient=["0", "0", f"{-200 + k * step:.{decimals}f}"])
    [volume] = read_series(series.folder)
    assert volume.spacing[2] == pytest.approx(step, abs=1.1 * 10.0**-decimals / (count - 1))
    assert not volume.metadata["geometry"]["resampled"]


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, 1, 0)])
def test_the_largest_even_run_is_kept_and_the_rest_named(make_series, reference_image, orientation):
    series = make_series(shape=(12, 4, 5), orientation=orientation, origin=(3, 4, 5), step=2.0)
    for k in range(12):
        if k not in (3, 10):
            series.write(k)
    [volume] = read_series(series.folder, LARGEST_RUN)
    kept = make_series(series.pixels[4:10], orientation=orientation, origin=series.origin + 4 * series.step)
    image = reference_image(kept)
    np.testing.assert_array_equal(volume.array, image.get_fdata())
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-6)
    geometry = volume.metadata["geometry"]
    assert (geometry["kept_planes"], geometry["left_out_planes"]) == ([3, 8], 4)
    assert not geometry["resampled"]
    start = float(series.origin @ series.normal)
    assert geometry["positions_mm"] == [start + 2 * k for k in range(12) if k not in (3, 10)]
    assert volume.metadata["files"] == 10
    [warning] = [text for text in volume.metadata["warnings"] if "evenly" in text]
    assert "2 slices are missing; kept the longest even run, slices 4 to 9" in warning


def test_a_gap_is_one_for_all_time_points(make_series):
    for t in range(2):
        series = make_series(seed=t, shape=(9, 4, 4))
        for k in (0, 1, 3, 4, 5, 6, 7, 8):
            series.write(k, f"{t}-{k}", TemporalPositionIdentifier=t + 1)
    with pytest.raises(InputError, match=r"8 slices are not evenly spaced.* after slice 2 \(z = 2.000\): 1 slice is"):
        read_series(series.folder)
    [volume] = read_series(series.folder, LARGEST_RUN)
    assert volume.array.shape == (4, 4, 6, 2)
    np.testing.assert_array_equal(volume.array[..., 1], make_series(seed=1, shape=(9, 4, 4)).pixels[3:, ::-1, ::-1].T)


def test_overlapping_slices_are_as_even_as_any(make_series, reference_image):
    series = make_series(step=1.5, SliceThickness="3", SpacingBetweenSlices="1.5").write_all()
    [volume] = read_series(series.folder)
    np.testing.assert_array_equal(volume.array, reference_image(series).get_fdata())
    assert volume.metadata["warnings"] == []


def test_a_refusal_names_the_way_out_and_is_no_longer_one_when_taken(make_series):
    series = make_series(shape=(6, 4, 4))
    for k in (0, 1, 2, 4, 5):
        series.write(k)
    with pytest.raises(InputError, match=r"--gaps resample or --gaps largest-run"):
        read_series(series.folder)
    assert [v.array.shape[2] for v in read_series(series.folder, LARGEST_RUN)] == [3]
    assert [v.array.shape[2] for v in read_series(series.folder, Conversion(gaps="resample"))] == [6]
