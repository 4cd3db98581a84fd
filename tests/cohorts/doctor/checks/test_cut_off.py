"""What is missing beyond the border is estimated, and told once where most are cut alike."""

import numpy as np
import pytest


def test_what_is_missing_beyond_the_border_is_estimated(planted):
    """Against the mask before it was cut: the number of slices that were taken away is known."""
    body = np.flatnonzero((planted.read(2, "mask") > 0).any(axis=(1, 2)))
    for part in ("T1", "T2", "mask", "label"):
        planted.write(2, part, planted.read(2, part)[body[0] + 4 :])
    found = [f for f in planted.found("cut_off") if f.case == "head-0002" and f.other == "left"]
    assert [f.what for f in found] == ["cut off"]
    assert found[0].value == pytest.approx(4 * 6, abs=10)


def test_a_face_that_cuts_most_bodies_is_the_field_of_view_and_told_once(planted):
    found = [f for f in planted.found("cut_off") if f.other == "bottom"]
    assert [(f.what, f.severity, f.case) for f in found] == [("field of view", "note", "")]
