"""Empty, constant and not finite volumes, and masks that are none, are told."""

import numpy as np
import pytest


def test_constant_nearly_empty_and_not_finite_volumes_are_errors(planted, said):
    constant = planted.read(1, "T1")
    planted.write(1, "T1", np.full_like(constant, 7))
    faint = planted.read(2, "T2")
    planted.write(2, "T2", faint * 0.01)
    broken = planted.read(3, "T1")
    broken[5, 5, 5:8] = np.nan
    planted.write(3, "T1", broken)
    planted.write(4, "mask", np.zeros_like(planted.read(4, "mask")))
    found = planted.found("contents")
    assert said(found, ("error",)) == {
        (1, "T1", "constant"), (2, "T2", "nearly empty"), (3, "T1", "not finite"), (4, "mask", "empty mask")
    }  # fmt: skip
    share = next(f.value for f in found if f.what == "not finite")
    assert share == pytest.approx(3 / broken.size)


def test_masks_that_cover_nothing_or_everything_or_hold_labels_are_told(planted, said):
    for case, mask in ((1, np.ones), (2, np.zeros)):
        values = mask(planted.read(case, "mask").shape, np.uint8)
        values[10:12, 10:12, 10:12] = 1
        planted.write(case, "mask", values)
    planted.write(3, "mask", planted.read(3, "mask") * 3)
    assert said(planted.found("contents")) >= {
        (1, "mask", "large mask"), (2, "mask", "small mask"), (3, "mask", "mask not binary")
    }  # fmt: skip
