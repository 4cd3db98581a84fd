"""Sparse views against scikit-image's backprojection of the views that are left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import iradon

from medtrans.simulate import SparseViewCT
from medtrans.simulate.tomography import ParallelBeam
from medtrans.simulate.tomography.ct import WATER, attenuation_of
from medtrans.simulate.tomography.sparse_view_ct import view_weights

SIZE, VIEWS = 129, 120
AXIS = np.arange(SIZE) - SIZE // 2
WITHIN = np.hypot(AXIS[:, None], AXIS[None]) < 58


def head() -> np.ndarray:
    """A skull, and some things in it, in HU."""
    x, y = np.meshgrid(AXIS, AXIS, indexing="ij")
    x, y = x / 2.1, y / 2.1
    scan = np.full((SIZE, SIZE), -1000.0)
    for value, (cx, cy), (rx, ry) in [
        (900, (0, 0), (20, 25)),
        (40, (0, 0), (17, 22)),
        (0, (3, 6), (4, 7)),
        (800, (-9, -8), (2, 3)),
    ]:
        scan[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = value
    return scan[None].astype(np.float32)


@pytest.mark.parametrize(("kept", "arc"), [(30, 180.0), (40, 180.0), (60, 135.0)])
def test_the_change_is_that_of_scikit_image(kept: int, arc: float) -> None:
    scan = head()
    sparse = SparseViewCT(kept=kept, arc=arc, views=VIEWS).set_random_state(3)
    change = (sparse(scan, (1.0, 1.0)).numpy() - scan)[0]
    beam = ParallelBeam((SIZE, SIZE), (1, 1), VIEWS, bins=SIZE)
    lines = beam.project(attenuation_of(torch.from_numpy(scan)))[0].numpy().T
    assert sparse.parameters is not None
    start = sparse.parameters["start_degrees"]
    views = np.flatnonzero(view_weights(VIEWS, kept, arc, start))
    degrees = np.degrees(beam.angles)
    few = iradon(lines[:, views], theta=degrees[views], filter_name="hann")
    expected = ((few - iradon(lines, theta=degrees, filter_name="hann"))[::-1].T) * 1000 / WATER
    expected = np.clip(scan[0] + expected, -1024, 3071) - scan[0]
    assert np.corrcoef(change[WITHIN], expected[WITHIN])[0, 1] > 0.99
    assert change[WITHIN].std() == pytest.approx(expected[WITHIN].std(), rel=0.02)


def test_fewer_views_make_more_streaks() -> None:
    scan = head()
    spreads = [(SparseViewCT(kept=kept, views=VIEWS)(scan, (1, 1)).numpy() - scan).std() for kept in (60, 40, 20)]
    assert spreads[0] < spreads[1] < spreads[2]


@given(st.integers(2, 200), st.integers(2, 250), st.floats(1, 180), st.floats(0, 180))
def test_weights_stand_for_all_views_and_lie_in_the_arc(views: int, kept: int, arc: float, start: float) -> None:
    weights = view_weights(views, kept, arc, start)
    covered = max(1, round(views * arc / 180))
    assert weights.sum() == pytest.approx(views)
    assert np.count_nonzero(weights) == min(kept, covered)
    if covered < views:
        around = np.flatnonzero(weights)
        gaps = np.diff(around, append=around[0] + views)
        assert views - gaps.max() < covered  # nothing lies beyond the arc, wherever it begins


def test_all_views_of_a_scan_are_all() -> None:
    assert view_weights(90, 500, 180.0, 0.0).tolist() == [1] * 90


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (90.0, 60), (150.0, 100)])
def test_an_arc_begins_where_it_says(start: float, first: int) -> None:
    kept = np.flatnonzero(view_weights(120, 500, 45.0, start))
    assert set(kept) == {view % 120 for view in range(first, first + 30)}
