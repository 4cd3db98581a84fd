"""The doctor's measures against independent references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medtrans.cohorts.doctor.case_volumes import CaseVolumes, block_means
from medtrans.cohorts.doctor.checks.coverage import _best_shift
from medtrans.cohorts.doctor.checks.cut_off import _missing
from medtrans.cohorts.doctor.checks.orientation import _with_others
from medtrans.cohorts.doctor.fingerprint import detail
from medtrans.cohorts.doctor.listing import read_listing
from medtrans.cohorts.doctor.pair_search import fit_pair
from medtrans.simulate.phantom import HeadPhantom


@given(st.tuples(*[st.integers(2, 9)] * 3), st.tuples(*[st.integers(1, 3)] * 3), st.integers(0, 99))
def test_block_means_are_those_of_the_blocks(shape, steps, seed):
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    means = block_means(values, steps)
    steps = tuple(min(step, n) for step, n in zip(steps, shape, strict=True))
    assert means.shape == tuple(n // step for n, step in zip(shape, steps, strict=True))
    for index in np.ndindex(means.shape):
        block = values[tuple(slice(i * step, (i + 1) * step) for i, step in zip(index, steps, strict=True))]
        assert means[index] == pytest.approx(block.mean(), abs=1e-5)


@given(st.floats(40, 90), st.floats(3, 35), st.sampled_from([1.0, 2.0, 4.0]))
def test_what_is_missing_of_an_ellipsoid_is_exact(radius, missing, step):
    depth = missing + step / 2 + np.arange(int(1.5 * radius / step)) * step  # of each cross-section below the tip
    area = np.maximum(depth * (2 * radius - depth), 0)
    if area[0] < 0.02 * area.max():
        assert _missing(area, step) == 0
    else:
        assert _missing(area, step) == pytest.approx(missing, abs=0.01)


def test_what_is_missing_of_a_head_is_what_a_larger_field_of_view_shows():
    whole = HeadPhantom(10, 6.0, (32, 38, 44))
    truth = whole.images(["T1"])["mask"].any(axis=(0, 1))
    top_mm = whole.affine[2, 2] * (np.flatnonzero(truth)[-1] + 0.5) + whole.affine[2, 3]
    seen = HeadPhantom(10, 6.0)
    area = np.count_nonzero(seen.images(["T1"])["mask"], axis=(0, 1))
    border_mm = seen.affine[2, 2] * (len(area) - 0.5) + seen.affine[2, 3]
    assert top_mm - border_mm > 8
    assert _missing(area[::-1], 6.0) == pytest.approx(top_mm - border_mm, abs=4)


def test_a_body_that_grows_towards_the_border_goes_on_as_far_as_is_said():
    assert _missing(np.array([50, 45, 42, 41, 40, 60, 90]), 4.0) == 100
    assert _missing(np.array([0, 10, 30, 50]), 4.0) == 0


@given(st.integers(-8, 8))
def test_the_shift_between_two_profiles_is_found(shift):
    profile = 150 * np.sin(np.linspace(0.1, 2.6, 60)) ** 2
    first, second = (profile, profile[shift:]) if shift >= 0 else (profile[-shift:], profile)
    assert _best_shift(first, second) == shift


def test_correlation_with_the_others_leaves_out_the_own_image():
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 4)).astype(np.float32)
    found = _with_others(images, images)
    for index in range(5):
        others = np.delete(images, index, axis=0).mean(axis=0)
        assert found[index] == pytest.approx(np.corrcoef(others.ravel(), images[index].ravel())[0, 1], abs=1e-5)


def test_fine_structure_is_correlated_like_pearson():
    images = np.random.default_rng(1).normal(size=(2, 24, 28, 24)).astype(np.float32)
    fine = [image - ndimage.gaussian_filter(image, 1.5) for image in images]
    rows = detail(images)
    assert rows[0] @ rows[1] == pytest.approx(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1], abs=1e-4)
    assert rows[0] @ rows[0] == pytest.approx(1, abs=1e-5)


def test_the_fit_of_a_pair_does_not_depend_on_units_or_the_order_of_runs(planted):
    def fit(scale):
        values = planted.read(1, "T2")
        planted.write(1, "T2", (values * scale).astype(np.float32))
        case = read_listing(planted.folder).cases[1]
        kinds = dict.fromkeys(case.files, "MR")
        return fit_pair(CaseVolumes(case, kinds, dict.fromkeys(case.files, 0.0), "T1"), "T1", "T2")

    first, again, scaled = fit(1.0), fit(1.0), fit(4.0)
    assert first == again
    assert scaled.here == pytest.approx(first.here, rel=0.02)
    assert scaled.mirrored[(0,)] == pytest.approx(first.mirrored[(0,)], rel=0.05)
    assert max(first.mirrored.values()) < 0.7 * first.best
