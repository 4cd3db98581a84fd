from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.cohorts import Case
from medtrans.reports.pairing import match, pairs_from_cases, pairs_from_folders, volumes_in
from medtrans.transforms import Window


def files(*names: str) -> dict[str, Path]:
    return {name: Path(f"{name}.nii.gz") for name in names}


@pytest.mark.parametrize("name", ["a_1", "a_1_T2_synthetic", "synthetic_a_1", "a_1/T2", "out/a_1", "T2-a_1.v2"])
def test_a_case_is_found_in_names_that_hold_it_between_separators(name):
    assert match("prediction", ["a_1", "b"], files(name)) == {"a_1": Path(f"{name}.nii.gz")}


@pytest.mark.parametrize("name", ["a_12", "ba_1", "a1", "a_1T2"])
def test_a_longer_word_is_another_case(name):
    assert match("prediction", ["a_1"], files(name)) == {}


def test_the_longer_of_two_fitting_names_counts():
    found = match("prediction", ["sub-1", "sub-1_ses-2"], files("sub-1_T2", "sub-1_ses-2_T2"))
    assert {case: path.name for case, path in found.items()} == {
        "sub-1": "sub-1_T2.nii.gz",
        "sub-1_ses-2": "sub-1_ses-2_T2.nii.gz",
    }


def test_a_file_that_fits_two_cases_is_refused():
    with pytest.raises(InputError, match="fits the cases a, b"):
        match("prediction", ["a", "b"], files("a_to_b"))


def test_two_files_of_a_case_are_refused_unless_one_names_the_target_or_is_the_name():
    two = files("a_CT", "a_T2")
    with pytest.raises(InputError, match=r"a_CT.nii.gz and a_T2.nii.gz: both fit the case a"):
        match("prediction", ["a"], two)
    assert match("prediction", ["a"], two, prefer="T2")["a"].name == "a_T2.nii.gz"
    assert match("prediction", ["a"], two | files("a"))["a"].name == "a.nii.gz"
    with pytest.raises(InputError, match="both fit"):
        match("prediction", ["a"], files("a_T2_x", "a_T2_y"), prefer="T2")


@given(st.lists(st.from_regex(r"[a-c]{1,2}(_[0-9]{1,2})?", fullmatch=True), min_size=1, max_size=8, unique=True))
def test_files_named_exactly_as_their_cases_always_pair(names):
    assert match("prediction", names, files(*names)) == files(*names)


def test_volumes_are_found_below_the_folder_and_partial_files_are_not(tmp_path):
    for name in ("a/b.nii", "c.nii.gz", ".partial-1-d.nii.gz", "e.nii.json", "f.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert set(volumes_in(tmp_path)) == {"a/b", "c"}
    (tmp_path / "c.nii").touch()
    with pytest.raises(InputError, match="is there beside"):
        volumes_in(tmp_path)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_volumes_is_refused(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"not a folder|no NIfTI"):
        volumes_in(tmp_path / name)


def test_folders_pair_by_name_and_a_missing_prediction_stays_visible(study):
    (study.predictions / "head-2_CT_synthetic.nii.gz").unlink()
    pairs = pairs_from_folders(
        study.predictions, study.references, data_range=(-1000, 1500), sources=study.sources, masks=study.masks
    )
    assert [(pair.case, pair.prediction is None) for pair in pairs] == [
        ("head-1", False),
        ("head-12", False),
        ("head-2", True),
    ]
    assert pairs[0].source == study.sources / "head-1_MR.nii"
    assert pairs[0].mask == study.masks / "head-1_mask.nii.gz"


def test_folders_need_a_data_range(study):
    with pytest.raises(InputError, match="--data-range"):
        pairs_from_folders(study.predictions, study.references, data_range=None)


def test_a_missing_mask_or_source_is_refused_before_anything_is_measured(study):
    (study.masks / "head-12_mask.nii.gz").unlink()
    with pytest.raises(InputError, match="no mask for head-12"):
        pairs_from_folders(study.predictions, study.references, data_range=(0, 1), masks=study.masks)


def test_folders_without_a_common_name_are_refused(study):
    for path in study.predictions.iterdir():
        path.rename(study.predictions / path.name.replace("head", "skull"))
    with pytest.raises(InputError, match="no file named after"):
        pairs_from_folders(study.predictions, study.references, data_range=(0, 1))


def test_two_single_files_are_a_pair_whatever_they_are_called(study):
    prediction = study.predictions / "head-1_CT_synthetic.nii.gz"
    reference = (study.references / "head-1.nii.gz").rename(study.references / "truth.nii.gz")
    (pair,) = pairs_from_folders(prediction, reference, data_range=(0, 1))
    assert (pair.case, pair.prediction) == ("truth", prediction)


def test_a_data_set_brings_windows_units_and_masks(study):
    pair = pairs_from_cases(study.predictions, study.cases(), target="CT", source="MR")[0]
    assert (pair.case, pair.subject, pair.unit, pair.data_range) == ("head-1", "subject-head-1", "HU", (-1000, 1500))
    assert pair.source_range == (0, 400)
    assert pair.mask == study.masks / "head-1_mask.nii.gz"


@pytest.mark.parametrize(("unit", "mapped"), [("HU", False), ("SUV", True), ("", True)])
def test_a_source_in_the_targets_unit_is_compared_as_it_is(unit, mapped):
    windows = {"CT": Window(-1000, 2000, "HU"), "other": Window(0, 10, unit)}
    case = Case("a", "s", "test", {name: Path(f"{name}.nii") for name in windows}, windows)
    pair = _pair(case, "CT", "other")
    assert (pair.source_range == (0, 10)) is mapped


def test_a_source_of_the_same_modality_is_compared_as_it_is():
    case = Case("a", "s", "test", {"T2": Path("a.nii")}, {"T2": Window(0, 10)})
    assert _pair(case, "T2", "T2").source_range is None


def test_a_modality_that_no_case_has_is_refused(study):
    with pytest.raises(InputError, match="PET: is in no case"):
        pairs_from_cases(study.predictions, study.cases(), target="PET")


def _pair(case: Case, target: str, source: str):
    from medtrans.reports.pairing import _pair_of

    return _pair_of(case, None, target, source, None)
