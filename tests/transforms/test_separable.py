import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.transforms.regrid import antialias_sigma, regrid
from medtrans.transforms.separable import filter_along_axes, parallel_axes, resample_along_axes

INTERPOLATORS = {1: SimpleITK.sitkLinear, 3: SimpleITK.sitkBSpline}


def by_simpleitk(values, to_old, shape, order, outside):
    """The same resampling by SimpleITK, in double precision; its axes run backwards."""
    image = SimpleITK.GetImageFromArray(values.astype(np.float64))
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(to_old[2::-1, 2::-1].ravel().tolist())
    transform.SetTranslation(to_old[:3, 3][::-1].tolist())
    size = [int(n) for n in reversed(shape)]
    reference = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    out = SimpleITK.Resample(image, reference, transform, INTERPOLATORS[order], outside, SimpleITK.sitkFloat64)
    return SimpleITK.GetArrayFromImage(out)


def along(order, signs, steps, start):
    """A map whose new axis ``j`` runs along the old axis ``order[j]``."""
    to_old = np.eye(4)
    to_old[:3, :3] = np.eye(3)[:, order] * np.multiply(signs, steps)
    to_old[:3, 3] = start
    return to_old


def ours(values, to_old, shape, order, outside, sigma=(0, 0, 0), threads=1):
    axes = parallel_axes(to_old, shape)
    return resample_along_axes(values, to_old, axes, shape, order, np.asarray(sigma, float), outside, threads)


@pytest.mark.parametrize("order", [1, 3])
@given(
    shape=st.tuples(*[st.integers(4, 14)] * 3),
    new=st.tuples(*[st.integers(1, 16)] * 3),
    axes=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    steps=st.tuples(*[st.floats(0.2, 3.0)] * 3),
    start=st.tuples(*[st.floats(-6, 16)] * 3),
)
@settings(deadline=None, max_examples=40)
def test_any_flips_steps_and_shifts_equal_simpleitk(order, shape, new, axes, signs, steps, start):
    values = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    to_old = along(axes, signs, steps, start)
    index = np.stack(np.meshgrid(*map(np.arange, new), indexing="ij"), -1) @ to_old[:3, :3].T + to_old[:3, 3]
    rim = (np.abs(np.abs(index - (np.array(shape) - 1) / 2) - np.array(shape) / 2) < 1e-4).any(axis=-1)
    found, expected = ours(values, to_old, new, order, -7.0), by_simpleitk(values, to_old, new, order, -7.0)
    np.testing.assert_allclose(found[~rim], expected[~rim], atol=2e-3)  # 5 ulp of float32 at 100 times the overshoot


def test_a_head_sized_cubic_resampling_equals_simpleitk_in_single_precision():
    values = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(80, 90, 60)), 1.0).astype(np.float32) * 1000
    to_old = along([0, 1, 2], (1, -1, 1), (1.07, 1.07, 0.83), (-0.2, 88.9, 0.4))
    expected = by_simpleitk(values, to_old, (70, 80, 70), 3, 0.0)
    assert np.abs(ours(values, to_old, (70, 80, 70), 3, 0.0) - expected).max() < 1e-6 * np.abs(values).max()


def test_the_gaussian_within_the_matrices_is_scipys():
    values = np.random.default_rng(1).normal(size=(40, 30, 20)).astype(np.float32)
    to_old = along([1, 2, 0], (1, 1, -1), (2.5, 1.0, 3.1), (38.0, 0.3, 0.1))
    sigma = antialias_sigma(to_old, np.array([2.5, 1.0, 3.1]))
    assert (sigma > 0).sum() == 2
    smooth = ndimage.gaussian_filter(values.astype(np.float64), sigma, mode="nearest")
    for order in (1, 3):
        expected = by_simpleitk(smooth, to_old, (12, 20, 12), order, 0.0)
        np.testing.assert_allclose(ours(values, to_old, (12, 20, 12), order, 0.0, sigma), expected, atol=2e-6)


@pytest.mark.parametrize("threads", [2, 5, 0])
def test_threads_change_no_bit(threads):
    values = np.random.default_rng(2).normal(size=(41, 23, 19)).astype(np.float32)
    to_old = along([2, 0, 1], (1, 1, 1), (0.7, 1.3, 0.9), (0.1, 0.2, 0.3))
    one = ours(values, to_old, (25, 33, 22), 3, 0.0)
    np.testing.assert_array_equal(one, ours(values, to_old, (25, 33, 22), 3, 0.0, threads=threads))


def test_grids_that_do_not_meet_hold_the_outside_value():
    values = np.ones((5, 5, 5), np.float32)
    found = ours(values, along([0, 1, 2], (1, 1, 1), (1, 1, 1), (0, 40, 0)), (4, 4, 4), 3, -3.0)
    assert (found == -3.0).all()


def test_an_obliqueness_of_less_than_a_thousandth_of_a_voxel_counts_as_parallel():
    def turned(degrees):
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("z", degrees, degrees=True).as_matrix() * 0.9
        return matrix

    assert parallel_axes(turned(90), (256, 256, 180)).tolist() == [1, 0, 2]
    assert parallel_axes(turned(1e-4), (256, 256, 180)).tolist() == [0, 1, 2]
    assert parallel_axes(turned(0.01), (256, 256, 180)) is None
    assert parallel_axes(turned(45), (256, 256, 180)) is None


def test_both_ways_of_regrid_agree_where_they_meet():
    """A turn just above the tolerance goes through SimpleITK, one just below along the axes."""
    values = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(30, 32, 28)), 1.5).astype(np.float32)
    found = []
    for degrees in (5e-4, 5e-3):
        new = np.eye(4)
        new[:3, :3] = Rotation.from_euler("xyz", [degrees] * 3, degrees=True).as_matrix() * 0.8
        new[:3, 3] = (1.1, 0.7, 0.9)
        assert (parallel_axes(new, (32, 34, 30)) is None) == (degrees > 1e-3)
        found.append(regrid(values, np.eye(4), new, (32, 34, 30), "cubic", antialias=False, carry_edge=False))
    assert np.abs(found[0] - found[1])[:-1, :-1, :-1].max() < 0.01 * values.std()


def test_the_prefilter_and_the_gaussian_are_scipys():
    values = np.random.default_rng(4).normal(size=(23, 9, 14)).astype(np.float32)
    sigma = np.array([1.1, 0.0, 0.6])
    smooth = ndimage.gaussian_filter(values.astype(np.float64), sigma, mode="nearest")
    np.testing.assert_allclose(filter_along_axes(values, sigma, False), smooth, atol=1e-6)
    expected = ndimage.spline_filter(smooth, 3, mode="mirror")
    np.testing.assert_allclose(filter_along_axes(values, sigma, True), expected, atol=1e-5)
    assert filter_along_axes(values, np.zeros(3), False) is values


@pytest.mark.parametrize(("interpolation", "order"), [("linear", 1), ("cubic", 3)])
def test_an_oblique_regrid_equals_simpleitks_own(interpolation, order):
    values = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(24, 26, 22)), 1.0).astype(np.float32)
    new = np.eye(4)
    new[:3, :3] = Rotation.from_euler("xyz", [12, -7, 20], degrees=True).as_matrix() * [0.9, 0.8, 0.95]
    new[:3, 3] = (-1.0, 4.0, 2.0)
    found = regrid(values, np.eye(4), new, (26, 25, 24), interpolation, antialias=False, carry_edge=False)
    np.testing.assert_allclose(found, by_simpleitk(values, new, (26, 25, 24), order, 0.0), atol=1e-6)
