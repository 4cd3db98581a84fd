import json
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from medtrans import InputError
from medtrans.cohorts import Case, Cases, translation_items
from medtrans.transforms import Window

RULE = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5}
T1 = {"modality": "T1", "kind": "MR", "intensity": RULE}
PD = {"modality": "PD", "kind": "MR", "intensity": RULE}
CT = {"modality": "CT", "kind": "CT", "intensity": RULE}


def volume(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4)), path)
    return path


def names(items):
    return [item["case"] for item in items]


def test_a_file_is_a_case_named_after_it(tmp_path):
    (item,) = translation_items(str(volume(tmp_path / "scan.1.nii.gz")), [T1])
    assert item == {"case": "scan.1", "source": [str(tmp_path / "scan.1.nii.gz")]}


def test_files_with_commas_or_as_a_list_are_the_channels_in_their_order(tmp_path):
    paths = [str(volume(tmp_path / name)) for name in ("b.nii", "a.nii")]
    for given in (",".join(paths), paths):
        (item,) = translation_items(given, [T1, PD])
        assert item == {"case": "b", "source": paths}
    with pytest.raises(InputError, match=r"is 2 volume\(s\), but the model translates 1 \(T1\)"):
        translation_items(paths, [T1])
    with pytest.raises(InputError, match="Give T1,PD in this order"):
        translation_items(paths[0], [T1, PD])


def test_a_comma_in_a_name_is_not_a_separator(tmp_path):
    path = volume(tmp_path / "Doe, J" / "scan.nii")
    assert translation_items(str(path), [T1])[0]["source"] == [str(path)]
    assert names(translation_items(str(path.parent), [T1])) == ["scan"]


@pytest.mark.parametrize("given", ["", [], [""], ","])
def test_no_input_is_not_the_working_directory(given):
    with pytest.raises(InputError, match="input: is not given"):
        translation_items(given, [T1])


def test_a_folder_with_a_number_for_a_name_is_found(tmp_path, monkeypatch):
    volume(tmp_path / "2024" / "a.nii")
    monkeypatch.chdir(tmp_path)
    assert names(translation_items(2024, [T1])) == ["a"]  # as the command line hands it in


def test_what_is_not_there_is_named(tmp_path):
    here = volume(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"b\.nii: does not exist"):
        translation_items(f"{here},{tmp_path}/b.nii", [T1, PD])


def test_a_folder_of_volumes_has_a_case_each_and_no_name_twice(tmp_path):
    for name in ("b.nii", "b.nii.gz", "a.NII", ".partial-0-c.nii", "d.json"):
        path = volume(tmp_path / name.replace(".NII", ".nii").replace(".json", ".nii"))
        if path.name != name:
            path.rename(tmp_path / name)
    items = translation_items(tmp_path, [T1])
    assert names(items) == ["a", "b", "b-2"]
    assert [item["source"][0].split("/")[-1] for item in items] == ["a.NII", "b.nii", "b.nii.gz"]


def test_single_volumes_are_no_cases_for_several_channels(tmp_path):
    volume(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"Give one sub-folder a case with T1\.nii and PD\.nii"):
        translation_items(tmp_path, [T1, PD])


def test_sub_folders_are_cases_and_an_incomplete_one_is_told(tmp_path):
    for name in ("x/T1.nii", "x/PD.nii.gz", "y/T1.nii", "x/T1_old.nii", "z/other.nii", "out/result.nii"):
        volume(tmp_path / name)
    (tmp_path / "empty").mkdir()
    items = translation_items(tmp_path, [T1, PD], work=tmp_path / "out")
    assert names(items) == ["x", "y", "z"]
    assert items[0]["source"] == [str(tmp_path / "x/T1.nii"), str(tmp_path / "x/PD.nii.gz")]
    assert items[1]["problem"] == f"{tmp_path / 'y'}: has no PD.nii. Add it, or move the folder away."
    assert "has no T1.nii, PD.nii" in items[2]["problem"]
    assert "problem" not in items[0]


def test_channels_of_different_subjects_are_told_by_their_sidecars(tmp_path):
    for case, frames in (("good", ("1.2", "1.2")), ("unknown", ("1.2", "")), ("mixed", ("1.2", "3.4"))):
        for modality, frame in zip(("T1", "PD"), frames, strict=True):
            path = volume(tmp_path / case / f"{modality}.nii")
            path.with_suffix(".json").write_text(json.dumps({"frame_of_reference": frame}))
    items = {item["case"]: item for item in translation_items(tmp_path, [T1, PD])}
    assert [name for name, item in items.items() if "problem" in item] == ["mixed"]
    assert "another frame of reference than T1.nii" in items["mixed"]["problem"]


PET = {"modality": "FDG", "kind": "PET", "unit": "SUV", "intensity": RULE}


def described(path, **sidecar):
    path = volume(path)
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar))
    return path


@pytest.mark.parametrize(
    ("entry", "sidecar", "told"),
    [
        (PET, {"Modality": "PT", "unit": "Bq/ml"}, "is in Bq/ml, says its sidecar, but .* FDG in SUV"),
        (PET, {"unit": "SUV by LBM"}, "is in SUV by LBM"),
        (CT | {"unit": "HU"}, {"Modality": "MR", "unit": ""}, "is of modality MR, says its sidecar"),
        (T1 | {"unit": ""}, {"Modality": "CT", "unit": "HU"}, r"translates T1 \(MR\)"),
        (PET, {"Modality": "PT", "unit": "SUVbw"}, None),
        (PET, {"Modality": "PT", "unit": "suv"}, None),
        (CT | {"unit": "HU"}, {"Modality": "CT", "unit": ""}, None),  # says nothing, as one made from NIfTI
        (T1 | {"unit": ""}, {"Modality": "T1w", "unit": "a.u."}, None),
        ({"modality": "FDG", "intensity": RULE}, {"Modality": "CT", "unit": "HU"}, None),  # the model says nothing
        (PET, {}, None),
    ],
)
@pytest.mark.parametrize("way", ["file", "folder", "sub-folder"])
def test_a_volume_of_another_modality_or_unit_is_told_by_its_sidecar(way, entry, sidecar, told, tmp_path):
    path = described(tmp_path / "case" / f"{entry['modality']}.nii.gz", **sidecar)
    good = {"sub-folder": tmp_path / "good" / path.name, "folder": path.with_name("good.nii")}.get(way)
    if good:
        volume(good)
    given = {"file": path, "folder": path.parent, "sub-folder": tmp_path}[way]
    items = {item["source"][0]: item for item in translation_items(str(given), [entry])}
    problem = items.pop(str(path)).get("problem", "")
    if told:
        assert problem.startswith(f"{path}: ")
    assert re.search(told, problem) if told else not problem
    assert [item for item in items if "problem" in items[item]] == []
    assert list(items) == ([str(good)] if good else [])


def test_sub_folders_that_all_hold_another_unit_are_told_and_not_taken_for_an_export(tmp_path):
    for case in ("a", "b"):
        described(tmp_path / case / "FDG.nii", unit="Bq/ml")
    items = translation_items(str(tmp_path), [PET], work=tmp_path / "work")
    assert names(items) == ["a", "b"]
    assert all("is in Bq/ml" in item["problem"] for item in items)
    assert not (tmp_path / "work").exists()


def test_every_channel_is_compared_with_its_own_modality(tmp_path):
    mr, pet = described(tmp_path / "a.nii", Modality="MR"), described(tmp_path / "b.nii", Modality="PT", unit="SUV")
    assert "problem" not in translation_items([str(mr), str(pet)], [T1, PET])[0]
    assert f"{pet}: is of modality PT" in translation_items([str(pet), str(mr)], [T1, PET])[0]["problem"]


@pytest.fixture
def data_set(tmp_path):
    cases = []
    for name, split, modalities in [("a", "train", "T1 PD"), ("b", "test", "T1 PD"), ("c", "test", "PD")]:
        volumes = {m: volume(tmp_path / name / f"{m}.nii") for m in modalities.split()}
        cases.append(Case(name, name, split, volumes, {m: Window(0.0, 100.0) for m in volumes}))
    Cases(tmp_path, tuple(cases)).write()
    rules = {"T1": {"intensity": RULE}, "PD": {"intensity": RULE}}
    (tmp_path / "recipe.json").write_text(json.dumps({"modalities": rules}))
    return tmp_path


def test_a_data_set_gives_the_cases_of_a_split_with_their_windows(data_set):
    items = translation_items(str(data_set), [PD])
    assert names(items) == ["b", "c"]
    assert items[0]["source"] == [str(data_set / "b/PD.nii")]
    assert items[0]["windows"] == {"source": [[0.0, 100.0, ""]]}
    assert names(translation_items(str(data_set), [PD], split="all")) == ["a", "b", "c"]
    assert translation_items(str(data_set / "cases.csv"), [PD]) == items
    with pytest.raises(InputError, match="no case in the validation split"):
        translation_items(str(data_set), [PD], split="validation")


def test_a_volume_of_a_data_set_that_is_of_another_modality_is_told(data_set):
    (data_set / "b/PD.json").write_text(json.dumps({"Modality": "CT", "unit": "HU"}))
    bad, good = translation_items(str(data_set), [PD])
    assert "is of modality CT" in bad["problem"]
    assert "problem" not in good


def test_windows_of_other_rules_than_the_models_are_left_out(data_set):
    other = PD | {"intensity": {**RULE, "upper": 98}}
    assert "windows" not in translation_items(str(data_set), [other])[0]
    (data_set / "recipe.json").unlink()
    assert "windows" not in translation_items(str(data_set), [PD])[0]


def test_a_case_without_the_source_is_told_and_a_data_set_without_it_refused(data_set):
    good, bad = translation_items(str(data_set), [T1, PD])
    assert (good["case"], bad["case"]) == ("b", "c")
    assert bad["problem"].startswith(f"{data_set / 'cases.csv'} (case c): names no T1.")
    with pytest.raises(InputError, match=r"has no modality 'CT', which the model translates\. It has T1, PD"):
        translation_items(str(data_set), [CT])


SERIES = ("patient", "study", "series", "modality", "description", "shape", "status", "reason", "path")


@pytest.fixture
def cohort(tmp_path):
    """What `medtrans convert` wrote: two MR volumes, one CT, a time series, a NIfTI of no modality, a failure."""
    rows = [
        ("p1", "s1", "001", "MR", "T1 mprage", "9x9x9", "converted", "", "p1/s1/001.nii.gz"),
        ("p1", "s1", "002", "MR", "T2 tse", "9x9x9", "converted", "", "p1/s1/002.nii.gz"),
        ("p1", "s1", "003", "CT", "head", "9x9x9", "converted", "", "p1/s1/003.nii.gz"),
        ("p1", "s1", "004", "MR", "T1 perfusion", "9x9x9x5", "converted", "", "p1/s1/004.nii.gz"),
        ("p2", "s1", "x", "", "", "9x9x9", "converted", "", "p2/s1/x.nii.gz"),
        ("p3", "s1", "001", "MR", "T1", "", "failed", "cut off", ""),
    ]
    pd.DataFrame(rows, columns=list(SERIES)).to_csv(tmp_path / "series.csv", index=False)
    return tmp_path


def test_converted_series_are_chosen_by_kind_and_by_the_recipes_patterns(cohort, caplog):
    assert names(translation_items(str(cohort), [T1])) == ["p1_s1_001", "p1_s1_002", "p2_s1_x"]
    assert names(translation_items(str(cohort), [CT])) == ["p1_s1_003", "p2_s1_x"]
    described = T1 | {"series": {"modality": "^MR$", "description": "(?i)t1"}}
    (item,) = translation_items(str(cohort), [described])
    assert item == {"case": "p1_s1_001", "source": [str(cohort / "p1/s1/001.nii.gz")]}
    assert not caplog.text
    unlike = T1 | {"series": {"description": "FLAIR"}}
    assert len(translation_items(str(cohort), [unlike])) == 3
    assert "no series is described as T1 was in training" in caplog.text


def test_a_converted_series_that_stayed_in_another_unit_is_told(tmp_path):
    rows = [("p", "s", n, "PT", "", "2x3x4", "converted", "", f"{n}.nii.gz") for n in ("001", "002")]
    pd.DataFrame(rows, columns=list(SERIES)).to_csv(tmp_path / "series.csv", index=False)
    described(tmp_path / "001.nii.gz", Modality="PT", unit="Bq/ml")
    described(tmp_path / "002.nii.gz", Modality="PT", unit="SUV")
    bad, good = translation_items(str(tmp_path), [PET])
    assert "001.nii.gz: is in Bq/ml" in bad["problem"]
    assert "problem" not in good


def test_a_converted_cohort_cannot_tell_aligned_channels_and_may_hold_none_of_the_kind(cohort):
    with pytest.raises(InputError, match="medtrans prepare"):
        translation_items(str(cohort), [T1, PD])
    table = pd.read_csv(cohort / "series.csv")
    table[table["modality"] == "CT"].to_csv(cohort / "series.csv", index=False)
    with pytest.raises(InputError, match="holds no converted volume that could be T1"):
        translation_items(str(cohort), [T1])
    table.drop(columns="shape").to_csv(cohort / "series.csv", index=False)
    with pytest.raises(InputError, match=r"lacks the column\(s\) shape"):
        translation_items(str(cohort), [T1])


def test_an_export_is_converted_and_what_fails_is_told(tmp_path, write_mr_series):
    export, work = tmp_path / "export", tmp_path / "work"
    write_mr_series(export / "good", seed=1)
    write_mr_series(export / "bad", seed=2)
    cut = export / "bad/image004"
    cut.write_bytes(cut.read_bytes()[:-100])
    good, bad = translation_items(str(export), [T1], work=work)
    assert (work / "converted" / "series.csv").is_file()
    assert good["source"][0].startswith(str(work / "converted"))
    assert "problem" not in good
    assert bad["source"] == []
    assert str(export) in bad["problem"]
    assert "cannot be converted" in bad["problem"]
    shutil.rmtree(export / "good")
    (only,) = translation_items(str(export), [T1], work=tmp_path / "again")
    assert "cannot be converted" in only["problem"]


def test_one_dicom_file_of_a_volume_or_an_empty_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        translation_items(str(tmp_path / "empty"), [T1], work=tmp_path / "work")
    (tmp_path / "note.txt").write_text("no scan")
    with pytest.raises(InputError, match="holds no DICOM"):
        translation_items(str(tmp_path / "note.txt"), [T1], work=tmp_path / "work")
    assert not (tmp_path / "work").exists()
