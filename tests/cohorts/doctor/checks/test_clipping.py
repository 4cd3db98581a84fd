"""Saturated volumes, and windows that cut the body, are told with the share."""

import json

import numpy as np
import pytest


def test_a_saturated_volume_is_told_with_the_share(planted):
    values, body = planted.read(2, "T1"), planted.read(2, "mask") > 0
    cut = np.percentile(values[body], 90)
    planted.write(2, "T1", np.minimum(values, cut))
    (finding,) = (f for f in planted.found("clipping") if f.what == "saturated")
    assert (finding.case, finding.modality) == ("head-0002", "T1")
    assert finding.value == pytest.approx(0.1, abs=0.01)


def test_windows_that_cut_the_body_are_told(planted, said):
    body = planted.read(2, "mask") > 0
    lower, upper = np.percentile(planted.read(2, "T1")[body], (20, 80))
    windows = {"T1": {"lower": float(lower), "upper": float(upper)}, "T2": {"lower": 0, "upper": 1e6}}
    planted.table(intensity={2: json.dumps(windows)})
    found = planted.found("clipping")
    assert said(found) == {(2, "T1", "window cuts bright values"), (2, "T1", "window cuts dark values")}
    assert all(f.value == pytest.approx(0.2, abs=0.01) for f in found)
