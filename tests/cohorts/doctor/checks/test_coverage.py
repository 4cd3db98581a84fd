"""Parts of the body that a modality or an unpaired cohort does not show are told."""

import numpy as np
import pytest


def test_a_modality_that_shows_part_of_the_body_is_told(planted):
    values = planted.read(2, "T2")
    values[:, :, :12] = 0
    planted.write(2, "T2", values)
    (finding,) = planted.found("coverage")
    assert (finding.case, finding.modality, finding.what) == ("head-0002", "T2", "part of the body missing")
    slices = np.flatnonzero((planted.read(2, "mask") > 0).any(axis=(0, 1)))
    assert finding.value == pytest.approx((slices >= 12).mean(), abs=0.05)


def unpaired(planted, cut):
    """T1 of the first four heads, T2 of the others, their lower part cut away."""
    planted.table(T1=dict.fromkeys(range(4, 9), ""), T2=dict.fromkeys(range(4), ""))
    for case in range(4, 9):
        for part in ("T1", "T2", "mask", "label"):
            affine = planted.affine(case, part) @ np.array(
                [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, cut], [0, 0, 0, 1.0]]
            )  # fmt: skip
            planted.write(case, part, planted.read(case, part)[:, :, cut:], affine)


@pytest.mark.parametrize(("cut", "told"), [(0, False), (10, True)])
def test_unpaired_cohorts_of_different_fields_of_view_are_told(planted, cut, told):
    unpaired(planted, cut)
    heights = [f for f in planted.found("coverage") if f.what == "heights not shared"]
    assert bool(heights) == told
    assert all((f.modality, f.other) == ("T1", "T2") for f in heights)
    assert all(f.value == pytest.approx(10 / 31, abs=0.08) for f in heights)


def test_unpaired_cohorts_that_begin_at_different_heights_are_told_with_the_distance(planted):
    planted.table(T1=dict.fromkeys(range(4, 9), ""), T2=dict.fromkeys(range(4), ""))
    for case in range(4, 9):  # 60 mm of the top of the head are not there
        top = np.flatnonzero((planted.read(case, "mask") > 0).any(axis=(0, 1)))[-1] - 10
        for part in ("T1", "T2", "mask", "label"):
            planted.write(case, part, planted.read(case, part)[:, :, : top + 1])
    (finding,) = (f for f in planted.found("coverage") if f.what == "fields of view apart")
    assert (finding.modality, finding.other) == ("T2", "T1")
    assert "below" in finding.problem
    assert finding.value == pytest.approx(60, abs=12)
