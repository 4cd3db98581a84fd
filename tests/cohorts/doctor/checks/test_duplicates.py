"""One head under two subjects, or one volume as two modalities, is recognised."""

import numpy as np
import pytest


def test_identical_volumes_under_two_subjects_are_an_error(planted, said):
    for part in ("T1", "T2", "mask"):
        planted.write(6, part, planted.read(2, part))
    assert said(planted.found("duplicates")) == {(6, "T1", "identical volumes")}


def test_one_volume_as_two_modalities_is_an_error(planted, said):
    planted.write(3, "T2", planted.read(3, "T1"))
    assert (3, "T2", "one volume as two modalities") in said(planted.found("duplicates"))


@pytest.mark.parametrize("change", ["noisy", "rescaled", "moved", "turned"])
def test_one_head_under_two_subjects_is_recognised(planted, moved, change):
    generator = np.random.default_rng(0)
    for part in ("T1", "T2", "mask"):
        values = planted.read(2, part)
        if part == "mask" and change in ("moved", "turned"):
            values = (moved(values.astype(np.float32), 7 * (change == "turned"), (5, 3, 0)) > 0.5).astype(np.uint8)
        elif part != "mask":
            values = {
                "noisy": values + generator.normal(0, 0.05 * values.max(), values.shape),
                "rescaled": 3 * values**0.9 + 20,
                "moved": moved(values, 0, (5, 3, 0)) + generator.normal(0, 0.02 * values.max(), values.shape),
                "turned": moved(values, 7, (5, 3, 0)) + generator.normal(0, 0.02 * values.max(), values.shape),
            }[change].astype(np.float32)
        planted.write(6, part, values)
    planted.table(split={2: "train", 6: "test"})
    found = planted.found("duplicates")
    assert {(f.case, f.other, f.what, f.severity) for f in found} == {
        ("head-0006", "head-0002", "one anatomy under two subjects", "error")
    }
    planted.table(subject={2: "anna", 6: "anna"})
    assert not planted.found("duplicates")
