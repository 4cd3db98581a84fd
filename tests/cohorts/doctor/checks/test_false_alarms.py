"""Heads as they were made raise no error, in any cohort."""

import pytest

from medtrans.cohorts import write_phantom_cohort
from medtrans.cohorts.doctor import examine


def test_heads_as_they_were_made_raise_no_error(planted, said):
    findings = planted.found(
        "files", "splits", "geometry", "contents", "clipping", "units", "alignment", "duplicates", "orientation",
        "outliers", "coverage",
    )  # fmt: skip
    assert said(findings) == set()


def test_pet_and_ct_heads_raise_no_error(planted_pet_ct, said):
    findings = planted_pet_ct.found("files", "geometry", "contents", "clipping", "units", "alignment", "duplicates")
    assert said(findings) == set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
def test_other_cohorts_raise_no_error_either(tmp_path, seed):
    write_phantom_cohort(tmp_path / "set", 10, ["T1", "T2", "CT", "PET"], 6.0, seed)
    findings = examine(tmp_path / "set", workers=1, pictures=0).findings
    assert [f for f in findings if f.severity == "error"] == []
    warnings = [f for f in findings if f.severity == "warning" and f.check != "cut_off"]  # some heads do reach the edge
    assert len(warnings) <= 1
