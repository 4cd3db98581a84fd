import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medtrans.transforms.regrid import antialias_sigma, regrid


def affine_of(spacing, origin=(0, 0, 0)):
    affine = np.diag([*spacing, 1.0]).astype(float)
    affine[:3, 3] = origin
    return affine


@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    new=st.tuples(*[st.integers(1, 8)] * 3),
    start=st.tuples(*[st.integers(-9, 9)] * 3),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    order=st.permutations(range(3)),
)
@settings(deadline=None, max_examples=60)
def test_crops_pads_flips_and_transpositions_copy_voxels(shape, new, start, signs, order):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    to_old = np.eye(4)
    to_old[:3, :3] = np.eye(3)[:, order] * signs
    to_old[:3, 3] = start
    found = regrid(values, np.eye(4), to_old, new, background=-7.0)
    for index in np.ndindex(*new):
        old = (to_old @ [*index, 1])[:3].astype(int)
        inside = ((old >= 0) & (old < shape)).all()
        assert found[index] == (values[tuple(old)] if inside else -7.0)


def test_cubic_equals_scipys_spline_inside():
    values = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(20, 22, 24)), 1.0).astype(np.float32)
    found = regrid(values, np.eye(4), affine_of((0.6, 0.7, 0.8), (0.3, 0.2, 0.1)), (30, 30, 26), "cubic")
    index = np.stack(np.meshgrid(*map(np.arange, found.shape), indexing="ij"))
    expected = ndimage.map_coordinates(
        values, index * np.array([0.6, 0.7, 0.8])[:, None, None, None] + np.array([0.3, 0.2, 0.1])[:, None, None, None]
    )
    np.testing.assert_allclose(found[8:-4, 8:-4, 8:-4], expected[8:-4, 8:-4, 8:-4], atol=2e-3 * values.std())


def test_bounds_stop_padding_and_overshoot_but_let_the_background_through():
    values = np.zeros((12, 12, 12), np.float32)
    values[:6] = 100.0
    values[0] = -3000.0  # a scanner's padding
    new = affine_of((0.5, 0.5, 0.5), (-4, 0, 0))
    free = regrid(values, np.eye(4), new, (32, 20, 20), "cubic", background=-5.0)
    held = regrid(values, np.eye(4), new, (32, 20, 20), "cubic", background=-5.0, bounds=(0.0, 100.0))
    assert free.max() > 101
    assert free.min() == pytest.approx(-3000, rel=1e-6)
    assert held.max() == 100
    assert set(np.unique(held[held < 0])) == {-5.0}


def test_three_voxels_are_too_few_for_a_spline_and_are_interpolated_linearly():
    values = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    new = affine_of((0.5, 1, 1))
    cubic, linear = (regrid(values, np.eye(4), new, (5, 3, 3), name) for name in ("cubic", "linear"))
    np.testing.assert_array_equal(cubic, linear)
    np.testing.assert_allclose(cubic[1], (values[0] + values[1]) / 2)


def test_the_outer_half_voxel_repeats_the_edge_and_beyond_is_background():
    values = np.full((4, 4, 4), 10.0, np.float32)
    found = regrid(values, np.eye(4), affine_of((0.2, 1, 1), (-1.05, 0, 0)), (30, 4, 4), background=-1.0)
    position = -1.05 + 0.2 * np.arange(30)
    np.testing.assert_allclose(found[:, 2, 2], np.where((position > -0.5) & (position < 3.5), 10.0, -1.0))


def test_antialiasing_keeps_the_mean_of_a_fine_pattern():
    values = np.indices((60, 8, 8))[0] % 2 * 2.0 - 1.0  # black and white, voxel by voxel
    new = affine_of((3, 1, 1), (1, 0, 0))
    smooth, raw = (regrid(values, np.eye(4), new, (19, 8, 8), antialias=flag) for flag in (True, False))
    assert np.abs(smooth[2:-2]).max() < 0.01
    assert np.abs(raw).max() == 1.0
    np.testing.assert_allclose(antialias_sigma(new, np.array([3.0, 1, 1])), [0.5 * np.sqrt(8), 0, 0])


def test_several_threads_change_nothing():
    values = np.random.default_rng(0).normal(size=(15, 16, 17)).astype(np.float32)
    new = affine_of((0.7, 1.3, 0.9), (0.1, 0.2, 0.3))
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    for threads in (1, 2):
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        found.append(regrid(values, np.eye(4), new, (20, 11, 17), "cubic"))
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    np.testing.assert_array_equal(*found)


def test_unknown_interpolations_are_refused():
    with pytest.raises(ValueError, match="linear, cubic, nearest"):
        regrid(np.zeros((2, 2, 2)), np.eye(4), np.eye(4), (2, 2, 2), "lanczos")
