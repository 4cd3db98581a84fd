import json
from dataclasses import replace

import pandas as pd
import pytest

from medtrans import InputError
from medtrans.cohorts import Recipe
from medtrans.cohorts.selection import path_pattern, select

COLUMNS = ["patient", "study", "series", "modality", "description", "path", "slices"]


def recipe(tmp_path, pairs="study", label=None, **changes):
    """T1 and CT, by series.csv or by path, with changed keys a modality."""
    t1 = {"kind": "MR", "series": {"modality": "^MR$", "description": "(?i)t1"}, "file": "{subject}/{session}/T1.nii"}
    ct = {"kind": "CT", "series": {"modality": "^CT$"}, "file": "{subject}/{session}/{modality}.nii"}
    content = {
        "modalities": {"T1": t1 | changes.get("T1", {}), "CT": ct | changes.get("CT", {})},
        "reference": "T1", "pairs": pairs, "label": label,
    }  # fmt: skip
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(content))
    return Recipe.read(path)


def export(folder, rows):
    """A folder as ``medtrans convert`` leaves it; the volumes are empty files, selection does not open them."""
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame(rows, columns=COLUMNS).fillna("")
    frame.to_csv(folder / "series.csv", index=False)
    for path in frame["path"]:
        if path:
            touch(folder / path)
    return folder


def touch(path, **sidecar):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    if sidecar:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar))
    return path


def row(patient, study, series, modality, description="", path=None, slices=""):
    return [patient, study, series, modality, description, path or f"{patient}/{study}/{series}.nii.gz", slices]


def test_series_are_matched_by_their_columns_and_grouped_by_study(tmp_path):
    folder = export(
        tmp_path / "in",
        [
            row("p1", "a", "1", "MR", "ax T1 mprage"),
            row("p1", "a", "2", "MR", "ax T2"),
            row("p1", "a", "3", "CT"),
            row("p1", "b", "1", "MR", "T1"),
            row("p1", "b", "2", "CT"),
            row("p2", "c", "1", "MR", "t1"),
            ["p2", "c", "2", "CT", "refused by convert", "", ""],
        ],
    )
    cases = select(recipe(tmp_path), folder)
    assert [(c.name, c.subject, c.problem) for c in cases] == [
        ("p1_a", "p1", ""),
        ("p1_b", "p1", ""),
        ("p2_c", "p2", "no CT"),
    ]
    assert cases[0].sources["T1"].path == folder / "p1/a/1.nii.gz"
    assert cases[0].sources["CT"].path == folder / "p1/a/3.nii.gz"


def test_modalities_of_different_days_pair_by_patient(tmp_path):
    folder = export(tmp_path / "in", [row("p1", "a", "1", "MR", "T1"), row("p1", "b", "1", "CT")])
    assert [c.problem for c in select(recipe(tmp_path), folder)] == ["no CT", "no T1"]
    (case,) = select(recipe(tmp_path, pairs="patient"), folder)
    assert (case.name, case.problem, set(case.sources)) == ("p1", "", {"T1", "CT"})


def test_several_matches_are_a_problem_until_the_recipe_chooses(tmp_path):
    rows = [row("p", "a", "1", "MR", "T1", slices="30"), row("p", "a", "2", "MR", "T1", slices="170")]
    folder = export(tmp_path / "in", [*rows, row("p", "a", "3", "MR", "T1", slices="9"), row("p", "a", "4", "CT")])
    (case,) = select(recipe(tmp_path), folder)
    assert "3 volumes match T1" in case.problem
    for choose, series in (("largest", "2"), ("first", "1"), ("last", "3")):
        (case,) = select(recipe(tmp_path, T1={"choose": choose}), folder)
        assert case.sources["T1"].path.name == f"{series}.nii.gz"


def test_an_optional_modality_may_be_missing_but_not_all(tmp_path):
    folder = export(tmp_path / "in", [row("p1", "a", "1", "MR", "T1"), row("p2", "b", "1", "CT")])
    optional = recipe(tmp_path, T1={"optional": True}, CT={"optional": True})
    assert [(c.problem, list(c.sources)) for c in select(optional, folder)] == [("", ["T1"]), ("", ["CT"])]


def test_files_are_matched_by_pattern_with_the_session(tmp_path):
    folder = tmp_path / "in"
    for name in ("a/1/T1.nii", "a/1/CT.nii", "a/2/T1.nii", "a/2/CT.nii", "b/1/CT.nii", "b/1/notes.txt"):
        touch(folder / name)
    cases = select(recipe(tmp_path), folder)
    assert [(c.name, c.subject, c.problem) for c in cases] == [
        ("a_1", "a", ""),
        ("a_2", "a", ""),
        ("b_1", "b", "no T1"),
    ]


def test_bids_paths_repeat_the_subject():
    pattern = path_pattern("sub-{subject}/ses-{session}/anat/sub-{subject}_*_T1w.nii.gz")
    match = pattern.fullmatch("sub-07/ses-x/anat/sub-07_ses-x_run-1_T1w.nii.gz")
    assert match
    assert match.groupdict() == {"subject": "07", "session": "x"}
    assert not pattern.fullmatch("sub-07/ses-x/anat/sub-08_ses-x_run-1_T1w.nii.gz")
    assert not path_pattern("{subject}.nii").fullmatch("a/b.nii")
    assert not path_pattern("{subject}.nii").fullmatch("axnii")
    with pytest.raises(InputError, match=r"\{who\}"):
        path_pattern("{who}/T1.nii")


def test_unit_and_frame_come_from_the_sidecar_and_the_unit_must_be_the_recipes(tmp_path):
    folder = tmp_path / "in"
    touch(folder / "a/1/T1.nii", unit="", frame_of_reference="f1")
    touch(folder / "a/1/CT.nii", unit="HU", frame_of_reference="f2")
    touch(folder / "b/1/T1.nii", unit="arbitrary")
    touch(folder / "b/1/CT.nii", unit="")
    good, bad = select(recipe(tmp_path), folder)
    assert (good.problem, good.sources["T1"].frame, good.sources["CT"].frame) == ("", "f1", "f2")
    assert bad.problem == "CT is in no unit, the recipe expects HU"
    (_, free) = select(recipe(tmp_path, CT={"unit": None}), folder)
    assert free.problem == ""


@pytest.mark.parametrize(
    ("wanted", "stated", "problem"),
    [
        ("SUV", "Bq/ml", "PET is in Bq/ml, the recipe expects SUV"),
        ("SUV", "bqml", "PET is in bqml, the recipe expects SUV"),
        ("Bq/ml", "SUV", "PET is in SUV, the recipe expects Bq/ml"),
        ("SUV", "SUVlbm", "PET is in SUVlbm, the recipe expects SUV"),
        ("SUV", "SUVbw", ""),
        ("Bq/ml", "BQML", ""),
        ("Bq/ml", "Bq / mL", ""),
        (None, "Bq/ml", ""),
    ],
)
def test_the_units_of_pet_are_told_apart_whatever_the_window_says(tmp_path, wanted, stated, problem):
    window = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.0}
    pet = {"kind": "PET", "file": "{subject}/PET.nii", "unit": wanted, "intensity": window}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({"modalities": {"PET": pet}, "reference": "PET"}))
    touch(tmp_path / "in/a/PET.nii", unit=stated)
    (case,) = select(Recipe.read(path), tmp_path / "in")
    assert case.problem == problem


def test_volumes_of_different_subjects_are_not_paired(tmp_path):
    touch(tmp_path / "in/a/1/T1.nii", patient="x")
    touch(tmp_path / "in/a/1/CT.nii", patient="y")
    (case,) = select(recipe(tmp_path), tmp_path / "in")
    assert "different subjects (x, y)" in case.problem


def test_names_are_safe_and_unlike(tmp_path):
    for subject in ("a b", "a-b", "Ä/ö", "A:B"):
        touch(tmp_path / "in" / subject.replace("/", "_") / "1/T1.nii")
        touch(tmp_path / "in" / subject.replace("/", "_") / "1/CT.nii")
    cases = select(recipe(tmp_path), tmp_path / "in")
    names = [case.name.lower() for case in cases]
    assert len(set(names)) == 4
    assert all(name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in names)


def test_a_label_map_is_found_beside(tmp_path):
    for name in ("a/1/T1.nii", "a/1/CT.nii", "a/1/seg.nii", "b/1/T1.nii", "b/1/CT.nii"):
        touch(tmp_path / "in" / name)
    with_label, without = select(recipe(tmp_path, label={"file": "{subject}/{session}/seg.nii"}), tmp_path / "in")
    assert with_label.label.path.name == "seg.nii"
    assert (without.label, without.problem) == (None, "")


def test_a_listed_volume_that_is_gone_is_a_problem(tmp_path):
    folder = export(tmp_path / "in", [row("p", "a", "1", "MR", "T1"), row("p", "a", "2", "CT")])
    (folder / "p/a/2.nii.gz").unlink()
    (case,) = select(recipe(tmp_path), folder)
    assert "does not exist" in case.problem


def test_a_run_that_cannot_start_says_why(tmp_path):
    plan = recipe(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        select(plan, tmp_path / "absent")
    touch(tmp_path / "in/other.nii")
    with pytest.raises(InputError, match=r"holds nothing .* for example other.nii"):
        select(plan, tmp_path / "in")
    no_file = replace(plan, modalities={n: replace(m, file=None) for n, m in plan.modalities.items()})
    with pytest.raises(InputError, match=r"no series\.csv"):
        select(no_file, tmp_path / "in")
    (tmp_path / "in/series.csv").write_text("patient,study,path\np,a,x.nii\n")
    with pytest.raises(InputError, match="no column 'modality'"):
        select(plan, tmp_path / "in")
