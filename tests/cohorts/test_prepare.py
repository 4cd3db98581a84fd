"""``medtrans prepare`` from files to data set, on synthetic heads that the tests write themselves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from medtrans import InputError
from medtrans.cli import app, main
from medtrans.cohorts import Cases, describe_modalities, prepare, translation_items
from medtrans.cohorts.volumes import moved

TILTED = np.array([[-2.0, 0, 0], [0, 2.0, 0.6], [0, 0, 2.2]])
OBLIQUE = Rotation.from_euler("xyz", [6, -9, 12], degrees=True).as_matrix() * [2.2, 2.0, 2.5]
LANDMARK = np.array([14.0, -9.0, 11.0])


def affine_of(linear, shape, at=(0.0, 0.0, 0.0)):
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = np.asarray(at) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def tissue(points, size=1.0):
    """0 outside a lopsided smooth head of 40 x 50 x 42 mm half-axes, about 1 inside, 2 at the landmark."""
    x, y, z = np.moveaxis(points / size, -1, 0)
    depth = 1 - np.sqrt((x / 40) ** 2 + (y / 50) ** 2 + (z / 42) ** 2)
    inside = 1 / (1 + np.exp(-np.clip(depth * 40, -50, 50)))
    folds = 0.25 * np.sin(x / 7 + 0.3) * np.cos(y / 9) + 0.15 * np.sin(z / 8 + x / 20)
    spot = np.exp(-((points - LANDMARK) ** 2).sum(axis=-1) / (2 * 4.0**2))
    return inside * (1 + folds) + spot


def write(path, contrast, linear, shape=(56, 64, 52), rigid=None, size=1.0, seed=0, at=(0.0, 0.0, 0.0)):
    """A NIfTI volume of the head on any planes, moved by ``rigid``."""
    affine = affine_of(linear, shape, at)
    affine = affine if rigid is None else rigid @ affine
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1).reshape(-1, 3).astype(float)
    points = moved(index, affine if rigid is None else np.linalg.inv(rigid) @ affine)
    values = contrast(tissue(points, size)).reshape(shape)
    values = values + np.random.default_rng(seed).normal(0, 0.3, shape)
    image = nibabel.Nifti1Image(values.astype(np.float32), None)
    image.set_sform(affine, code=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def mr(value):
    return 500 * value


def ct(value):
    return -1000 + 1040 * np.minimum(value, 1) - 60 * np.maximum(value - 1, 0)


def recipe(folder, **changes):
    content = {
        "modalities": {
            "T1": {"kind": "MR", "file": "{subject}/T1.nii.gz", "interpolation": "linear"},
            "CT": {"kind": "CT", "file": "{subject}/CT.nii.gz", "interpolation": "linear"},
        },
        "reference": "T1", "size": [72, 96, None], "spacing": [2.0, 2.0, 2.0],
        "registration": {"rigid": False, "spacing": 4.0},
    }  # fmt: skip
    path = folder / "recipe.json"
    path.write_text(json.dumps(content | changes))
    return path


def cohort(folder, subjects):
    for number, subject in enumerate(subjects):
        size = 1 - 0.02 * number
        write(folder / subject / "T1.nii.gz", mr, TILTED, size=size, seed=number)
        write(folder / subject / "CT.nii.gz", ct, OBLIQUE, size=size, seed=100 + number)
    return folder


def load(path):
    image = nibabel.load(path)
    return image.get_fdata(dtype=np.float32), image


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Four subjects prepared once: the input, the data set and the table."""
    folder = tmp_path_factory.mktemp("prepare")
    plan = recipe(folder)
    table = prepare(plan, cohort(folder / "in", "abcd"), folder / "out", workers=1)
    return folder, folder / "out", table


def test_the_data_set_reads_back_with_every_case_good(done):
    _, out, table = done
    assert list(table["status"]) == ["ok"] * 4
    cases = Cases.read(out)
    assert [case.subject for case in cases] == list("abcd")
    assert {case.split for case in cases} == {"train", "validation", "test"}
    assert json.loads((out / "recipe.json").read_text())["modalities"]["CT"]["background"] == -1024.0
    assert pd.read_csv(out / "prepare.csv")["mutual_information_before_CT"].between(0.2, 3).all()
    assert all((out / "qa" / f"{case.name}.png").stat().st_size > 10_000 for case in cases)


def test_volumes_share_one_ras_grid_in_physical_units(done):
    _, out, _ = done
    for case in Cases.read(out):
        affines = []
        for path in (*case.volumes.values(), case.mask):
            values, image = load(path)
            assert values.shape == case.shape
            assert image.header["sform_code"] == image.header["qform_code"] == 1
            assert image.header.get_xyzt_units()[0] == "mm"
            assert np.array_equal(image.affine[:3, :3], 2 * np.eye(3))
            assert image.get_qform() == pytest.approx(image.affine, abs=1e-5)
            affines.append(image.affine)
        assert np.array_equal(affines[0], affines[1])
        assert case.shape[:2] == (72, 96)
        ct_values, _ = load(case.volumes["CT"])
        assert -1024 <= ct_values.min() < -1000
        assert -100 < np.median(ct_values[load(case.mask)[0] > 0]) < 60


def test_values_and_landmark_lie_where_the_formula_puts_them_in_the_world(done):
    _, out, _ = done
    case = next(iter(Cases.read(out)))
    for modality, contrast, scale in (("T1", mr, 500), ("CT", ct, 1040)):
        values, image = load(case.volumes[modality])
        index = np.stack(np.meshgrid(*[np.arange(n) for n in values.shape], indexing="ij"), -1)
        points = moved(index.reshape(-1, 3).astype(float), image.affine)
        expected = contrast(tissue(points)).reshape(values.shape)
        deep = (np.abs(points) < 20).all(axis=1).reshape(values.shape)
        assert np.abs(values - expected)[deep].max() < 0.06 * scale
    t1, image = load(case.volumes["T1"])
    near = np.linalg.norm(points - LANDMARK, axis=1).reshape(t1.shape) < 9
    weight = np.maximum(t1 - 500, 0) * near
    found = (weight[..., None] * points.reshape(*t1.shape, 3)).sum(axis=(0, 1, 2)) / weight.sum()
    ideal = np.maximum(mr(tissue(points)) - 500, 0).reshape(t1.shape) * near
    truth = (ideal[..., None] * points.reshape(*t1.shape, 3)).sum(axis=(0, 1, 2)) / ideal.sum()
    assert found == pytest.approx(truth, abs=0.1)


def test_outside_the_scanned_field_is_each_modalitys_background(done):
    _, out, table = done
    case = next(iter(Cases.read(out)))
    ct_values, t1 = load(case.volumes["CT"])[0], load(case.volumes["T1"])[0]
    assert ct_values[0, 0, 0] == -1024.0
    assert t1[0, 0, 0] == 0.0
    for modality, values, air in (("CT", ct_values, -1024.0), ("T1", t1, 0.0)):
        assert table[f"padded_{modality}"][0] == pytest.approx((values == air).mean(), abs=0.02)


def test_windows_in_the_table_invert_exactly_and_come_from_the_volume_alone(done):
    _, out, _ = done
    for case in Cases.read(out):
        values, _ = load(case.volumes["T1"])
        window = case.windows["T1"]
        restored = window.restore(window.normalise(values, clip=False))
        assert np.abs(restored - values).max() < 1e-3
        clipped = window.restore(window.normalise(values))
        assert np.abs(clipped - np.clip(values, window.lower, window.upper)).max() < 1e-3
        assert case.windows["CT"].record() == {"lower": -1024.0, "upper": 2000.0, "unit": "HU"}
    assert len({case.windows["T1"].upper for case in Cases.read(out)}) == 4


def test_the_record_leads_back_to_the_source_grid(done):
    folder, out, _ = done
    record = json.loads((out / "a" / "case.json").read_text())
    source = nibabel.load(folder / "in/a/CT.nii.gz")
    assert record["sources"]["CT"]["shape"] == list(source.shape)
    assert np.array(record["sources"]["CT"]["affine"]) == pytest.approx(source.affine)


def test_a_second_run_keeps_every_finished_case_and_only_redoes_what_changed(done, tmp_path):
    folder, out, first = done
    shutil.copytree(out, tmp_path / "out")
    shutil.copytree(folder / "in", tmp_path / "in")
    before = {
        p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/case.json") for p in [p.parent / "T1.nii"]
    }
    assert before
    again = prepare(recipe(tmp_path), tmp_path / "in", tmp_path / "out", workers=1)
    assert list(again["kept"]) == [True] * 4
    pd.testing.assert_series_equal(again["mutual_information_after_CT"], first["mutual_information_after_CT"])
    write(tmp_path / "in/b/CT.nii.gz", ct, OBLIQUE, size=0.9, seed=9)
    (tmp_path / "out/c/mask.nii").unlink()
    changed = prepare(recipe(tmp_path), tmp_path / "in", tmp_path / "out", workers=1)
    assert dict(zip(changed["case"], changed["kept"], strict=True)) == {"a": True, "b": False, "c": False, "d": True}
    splits = {case.subject: case.split for case in Cases.read(tmp_path / "out")}
    assert splits == {case.subject: case.split for case in Cases.read(out)}
    other = prepare(recipe(tmp_path), tmp_path / "in", tmp_path / "out", {"split#test": 0.4}, workers=1)
    assert list(other["kept"]) == [True] * 4


def test_failures_are_recorded_and_the_rest_is_done(tmp_path):
    folder = cohort(tmp_path / "in", ["good", "nan", "alone", "far", "flat", "again"])
    image = nibabel.load(folder / "nan/CT.nii.gz")
    values = image.get_fdata(dtype=np.float32)
    values[3, 4, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, image.affine), folder / "nan/CT.nii.gz")
    (folder / "alone/CT.nii.gz").unlink()
    write(folder / "far/CT.nii.gz", ct, OBLIQUE, at=(0, 0, 900))
    nibabel.save(nibabel.Nifti1Image(np.full((9, 9, 9), 7.0), np.eye(4)), folder / "flat/T1.nii.gz")
    shutil.copy(folder / "good/T1.nii.gz", folder / "again/T1.nii.gz")
    result = CliRunner().invoke(
        app,
        ["prepare", str(recipe(tmp_path)), "--input", str(folder), "--output", str(tmp_path / "out"), "--workers", "1"],
    )
    assert result.exit_code == 1, result.output
    assert "1 of 6 cases prepared" in result.output
    table = pd.read_csv(tmp_path / "out/prepare.csv", keep_default_na=False).set_index("case")
    for case, reason in (
        ("nan", "CT.nii.gz: has NaN"),
        ("alone", "no CT"),
        ("far", "do not overlap"),
        ("flat", "is constant"),
        ("good", "voxel by voxel that of subject again"),
    ):
        assert reason in table.loc[case, "reason"]
        assert table.loc[case, "status"] == "failed"
    assert [case.name for case in Cases.read(tmp_path / "out")] == ["again"]
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"again", "qa"}
    assert [path.name for path in (tmp_path / "out/qa").iterdir()] == ["again.png"]
    assert table.loc["nan", "reason"].startswith("nan/CT.nii.gz: ")  # nobody's folders


def test_a_window_without_a_unit_gets_the_modalitys_and_pet_in_another_is_refused(tmp_path):
    window = {"_target_": "medtrans.transforms.PercentileWindow", "upper": 99.5}
    pet = {"kind": "PET", "file": "{subject}/PET.nii.gz", "intensity": window, "interpolation": "linear"}
    plan = recipe(tmp_path, modalities={"PET": pet}, reference="PET", split={"validation": 0, "test": 0})
    for subject, unit in (("counts", "bqml"), ("good", "SUV")):
        write(tmp_path / f"in/{subject}/PET.nii.gz", lambda value: 5 * value, TILTED, seed=len(unit))
        (tmp_path / f"in/{subject}/PET.json").write_text(json.dumps({"unit": unit}))
    table = prepare(plan, tmp_path / "in", tmp_path / "out", workers=1).set_index("case")
    assert table.loc["counts", "reason"] == "PET is in bqml, the recipe expects SUV"
    (case,) = Cases.read(tmp_path / "out")
    assert (case.name, case.windows["PET"].unit) == ("good", "SUV")
    (entry,) = describe_modalities(tmp_path / "out", "PET", "PET")["source"]
    assert (entry["unit"], entry["window"][2], entry["intensity"]["unit"]) == ("SUV", "SUV", "SUV")
    (item,) = translation_items(str(tmp_path / "in/counts/PET.nii.gz"), [entry])
    assert "is in bqml, says its sidecar, but the model translates PET in SUV" in item["problem"]


def test_a_case_whose_input_went_bad_leaves_the_data_set_but_not_what_others_put_there(tmp_path):
    folder = cohort(tmp_path / "in", "ab")
    prepare(recipe(tmp_path), folder, tmp_path / "out", workers=1)
    (tmp_path / "out/a/notes.txt").write_text("mine")
    for subject in "ab":
        (folder / subject / "CT.nii.gz").unlink()
    prepare(recipe(tmp_path), folder, tmp_path / "out", workers=1)
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")) == [
        "a", "a/notes.txt", "prepare.csv", "qa", "recipe.json", "splits.json",
    ]  # fmt: skip


def test_a_run_without_a_good_case_leaves_no_cases_csv(tmp_path):
    folder = cohort(tmp_path / "in", ["a"])
    prepare(recipe(tmp_path), folder, tmp_path / "out", workers=1)
    (folder / "a/CT.nii.gz").write_bytes(b"broken")
    table = prepare(recipe(tmp_path), folder, tmp_path / "out", workers=1)
    assert list(table["status"]) == ["failed"]
    assert not (tmp_path / "out/cases.csv").exists()


def test_a_run_that_cannot_start_exits_with_2(tmp_path, monkeypatch, capsys):
    arguments = ["prepare", str(tmp_path / "absent.json"), "--input", str(tmp_path), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["medtrans", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert (
        capsys.readouterr().err.strip().endswith("absent.json: does not exist. Copy one from data_prep/ and edit it.")
    )
    assert not (tmp_path / "out").exists()


def motion(turn, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def misaligned(folder, truth, frames=("f1", "f2")):
    write(folder / "a/T1.nii.gz", mr, np.eye(3) * 2)
    write(folder / "a/CT.nii.gz", ct, OBLIQUE, rigid=truth)
    for name, frame in zip(("T1", "CT"), frames, strict=True):
        sidecar = {"unit": {"T1": "", "CT": "HU"}[name], "frame_of_reference": frame}
        (folder / f"a/{name}.json").write_text(json.dumps(sidecar))
    return folder


def test_other_frames_of_reference_are_registered_when_needed_and_said_otherwise(tmp_path):
    truth = motion((5, -4, 6), (12, -8, 6))
    folder = misaligned(tmp_path / "in", truth)
    plan = recipe(tmp_path)
    by_header = prepare(plan, folder, tmp_path / "header", workers=1).iloc[0]
    assert by_header["status"] == "ok"
    assert by_header["frame_CT"] == "different"
    assert "CT is not aligned with T1 by its header (another frame of reference)" in by_header["warnings"]
    assert by_header["mutual_information_after_CT"] == by_header["mutual_information_before_CT"]
    row = prepare(plan, folder, tmp_path / "registered", {"registration#rigid": "if_needed"}, workers=1).iloc[0]
    assert row["mutual_information_before_CT"] == by_header["mutual_information_before_CT"]
    assert row["mutual_information_after_CT"] > row["mutual_information_before_CT"] + 0.2
    assert np.array(row["rotation_CT"].split(), float) == pytest.approx([5, -4, 6], abs=1.5)
    record = json.loads((tmp_path / "registered/a/case.json").read_text())
    points = np.array([[0.0, 0, 0], [25, 25, 25], [-25, 30, -20]])
    error = moved(points, np.array(record["sources"]["CT"]["rigid"])) - moved(points, truth)
    assert np.linalg.norm(error, axis=1).max() < 1.5
    truth_mask = load(tmp_path / "registered/a/mask.nii")[0] > 0
    body = load(tmp_path / "registered/a/CT.nii")[0] > -500
    assert 2 * (truth_mask & body).sum() / (truth_mask.sum() + body.sum()) > 0.95


def test_headers_that_agree_are_left_alone(tmp_path):
    folder = misaligned(tmp_path / "in", np.eye(4), frames=("f", "f"))
    row = prepare(recipe(tmp_path), folder, tmp_path / "out", {"registration#rigid": "if_needed"}, workers=1).iloc[0]
    assert (row["frame_CT"], row["rotation_CT"], row["warnings"]) == ("same", "", "")
    for path in folder.glob("a/*.json"):
        path.unlink()
    row = prepare(recipe(tmp_path), folder, tmp_path / "out", {"registration#rigid": "if_needed"}, workers=1).iloc[0]
    assert (row["frame_CT"], row["rotation_CT"]) == ("unknown", "")


def test_studies_of_one_patient_stay_in_one_split_and_splits_can_be_given(tmp_path):
    for subject in "abcd":
        for session in "12":
            seed = 10 * ord(subject) + int(session)
            write(tmp_path / f"in/{subject}/{session}/T1.nii.gz", mr, np.eye(3) * 4, (28, 32, 26), seed=seed)
    only_t1 = {"T1": {"kind": "MR", "file": "{subject}/{session}/T1.nii.gz", "interpolation": "linear"}}
    plan = recipe(tmp_path, modalities=only_t1, size=[32, 32, None], spacing=[4.0, 4.0, 4.0])
    prepare(plan, tmp_path / "in", tmp_path / "out", workers=1)
    cases = Cases.read(tmp_path / "out")  # refuses a subject in two splits
    assert len(cases) == 8
    assert {case.split for case in cases} == {"train", "validation", "test"}
    table = {"a": "test", "b": "validation", "c": "train"}
    result = prepare(plan, tmp_path / "in", tmp_path / "out", {"split": {"subjects": table}}, workers=1)
    assert list(result["status"]) == ["ok"] * 6 + ["failed"] * 2
    assert "does not name this subject" in result["reason"].iloc[-1]
    assert {case.subject: case.split for case in Cases.read(tmp_path / "out")} == table


def test_table_removal_labels_and_a_body_beyond_the_grid(tmp_path):
    write(tmp_path / "in/a/CT.nii.gz", ct, np.eye(3) * 2)
    image = nibabel.load(tmp_path / "in/a/CT.nii.gz")
    values = image.get_fdata(dtype=np.float32)
    values[:, 2:4, :] = 300.0  # the table
    nibabel.save(nibabel.Nifti1Image(values, image.affine), tmp_path / "in/a/CT.nii.gz")
    labels = (values > -500) * np.arange(1, 4).repeat([20, 20, 16])[:, None, None]
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), image.affine), tmp_path / "in/a/seg.nii.gz")
    plan = recipe(
        tmp_path,
        modalities={"CT": {"kind": "CT", "file": "{subject}/CT.nii.gz"}},
        reference="CT", mask={"modality": "CT", "outside": "background"},
        label={"file": "{subject}/seg.nii.gz"}, size=[30, 90, None],
    )  # fmt: skip
    row = prepare(plan, tmp_path / "in", tmp_path / "out", workers=1).iloc[0]
    (case,) = Cases.read(tmp_path / "out")
    kept, mask = load(case.volumes["CT"])[0], load(case.mask)[0] > 0
    assert (kept[~mask] == -1024).all()
    assert kept[mask].max() < 200
    assert set(np.unique(load(case.label)[0])) <= {0, 1, 2, 3}
    assert "of the body lies outside the grid" in row["warnings"]


def test_seed_workers_and_settings_reach_the_run_by_the_command_line(tmp_path):
    folder = cohort(tmp_path / "in", ["a"])
    options = ["--seed", "3", "--workers", "1", "--set", "size#0=50", "--set", "mask#outside=background"]
    result = CliRunner().invoke(
        app, ["prepare", str(recipe(tmp_path)), "--input", str(folder), "--output", str(tmp_path / "out"), *options]
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out/recipe.json").read_text())
    assert (record["seed"], record["size"][0], record["mask"]["outside"]) == (3, 50, "background")
    assert next(iter(Cases.read(tmp_path / "out"))).shape[0] == 50


def test_the_input_is_never_overwritten_and_an_output_inside_it_is_not_read(tmp_path):
    folder = cohort(tmp_path / "in", ["a"])
    for output in (folder, tmp_path):
        with pytest.raises(InputError, match="is or holds the input"):
            prepare(recipe(tmp_path), folder, output, workers=1)
    plan = recipe(tmp_path, modalities={"T1": {"kind": "MR", "file": "*/{subject}/*T1.nii"}})
    shutil.copytree(folder / "a", folder / "x/a")
    for source in folder.rglob("*.nii.gz"):
        nibabel.save(nibabel.load(source), source.with_suffix(""))
    for _ in range(2):
        assert len(prepare(plan, folder, folder / "out", workers=1)) == 1


def test_an_earlier_recipes_volumes_are_removed_and_foreign_files_stay(tmp_path):
    folder = cohort(tmp_path / "in", ["a"])
    prepare(recipe(tmp_path), folder, tmp_path / "out", workers=1)
    (tmp_path / "out/a/notes.txt").write_text("mine")
    only_t1 = {"T1": {"kind": "MR", "file": "{subject}/T1.nii.gz", "interpolation": "linear"}}
    prepare(recipe(tmp_path, modalities=only_t1), folder, tmp_path / "out", workers=1)
    names = {path.name for path in (tmp_path / "out/a").iterdir()}
    assert names == {"T1.nii", "mask.nii", "case.json", "notes.txt"}


def test_modality_names_that_clash_with_the_table_are_refused(tmp_path):
    modalities = {"mask": {"kind": "MR", "file": "{subject}/T1.nii.gz"}}
    with pytest.raises(InputError, match="no possible name"):
        prepare(recipe(tmp_path, modalities=modalities, reference="mask"), tmp_path, tmp_path / "out")


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    folder = cohort(tmp_path / "in", [f"s{i}" for i in range(8)])
    command = [sys.executable, "-m", "medtrans.cli", "prepare", str(recipe(tmp_path)), "--input", str(folder)]
    command += ["--output", str(tmp_path / "out"), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*/case.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path.parent.name for path in (tmp_path / "out").glob("*/case.json")}
    assert 2 <= len(finished) < 8
    assert not (tmp_path / "out/cases.csv").exists()
    stamps = {name: (tmp_path / "out" / name / "T1.nii").stat().st_mtime_ns for name in finished}
    table = prepare(recipe(tmp_path), folder, tmp_path / "out", workers=1)
    assert list(table["status"]) == ["ok"] * 8
    assert set(table[table["kept"]]["case"]) == finished
    assert stamps == {name: (tmp_path / "out" / name / "T1.nii").stat().st_mtime_ns for name in finished}
    assert not list(Path(tmp_path / "out").rglob(".partial-*"))


@pytest.mark.slow
def test_two_processes_give_the_same_volumes_as_one(done, tmp_path):
    folder, out, _ = done
    table = prepare(recipe(tmp_path), folder / "in", tmp_path / "out", workers=2)
    assert list(table["status"]) == ["ok"] * 4
    for case in Cases.read(out):
        for name in ("T1.nii", "CT.nii", "mask.nii"):
            assert np.array_equal(load(out / case.name / name)[0], load(tmp_path / "out" / case.name / name)[0])
