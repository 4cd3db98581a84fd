"""A data set with the degraded modality beside the clean one: what is in it, going on after a kill, refusals."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from medtrans import InputError
from medtrans.cohorts import Cases, describe_modalities, volume_items, write_phantom_cohort
from medtrans.cohorts.simulated import simulate_dataset, simulation_summary
from medtrans.cohorts.tasks import Task
from medtrans.simulate.degradation import Degradation
from medtrans.transforms import FitWindowd, ReadVolumesd

PET_DENOISING = Path(__file__).parents[2] / "tasks" / "pet_denoising.json"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean") / "set"
    write_phantom_cohort(folder, 4, ["T1", "CT"], 12.0)
    return folder


@pytest.fixture(scope="module")
def task(louder_task):
    return Task.read(louder_task)


@pytest.fixture(scope="module")
def simulated(task, clean, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "set"
    table = simulate_dataset(task, clean, folder, draws=2, workers=1)
    return folder, table


def values(path):
    return np.asarray(nibabel.load(path).dataobj)


def files(folder):
    """Path -> content and time of everything in the folder."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_degraded_volume_is_what_its_record_says_of_the_clean_one(simulated):
    folder, _ = simulated
    gains = []
    for case in Cases.read(folder):
        record = json.loads(case.volumes["T1-loud"].with_suffix(".json").read_text())["simulated"]
        (one,) = record["degradations"]
        assert (record["task"], record["from"], one["degradation"]) == ("louder", "T1", "Louder")
        assert one["parameters"]["spacing"] == [12.0] * 3
        gains.append(one["parameters"]["gain"])
        expected = values(case.volumes["T1"]) * gains[-1] + values(case.volumes["CT"])
        np.testing.assert_allclose(values(case.volumes["T1-loud"]), expected, rtol=1e-5, atol=1e-2)
    assert len(set(gains)) == 8
    assert 1.5 <= min(gains) < max(gains) <= 3.0


def test_it_is_a_data_set_of_the_same_subjects_and_splits_that_needs_the_first_no_more(simulated, clean, tmp_path):
    folder, _ = simulated
    before, after = Cases.read(clean), Cases.read(folder)
    assert [case.name for case in after if not case.name.endswith("_draw2")] == [case.name for case in before]
    assert {(case.subject, case.split) for case in after} == {(case.subject, case.split) for case in before}
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    items = volume_items(moved, "T1-loud", "T1", "all")
    assert len(items) == 8
    assert all(str(tmp_path) in path for item in items for path in (*item["source"], *item["target"], item["mask"]))
    for case in before:
        for modality in ("T1", "CT"):
            assert (folder / case.name / f"{modality}.nii").read_bytes() == case.volumes[modality].read_bytes()


def test_its_volumes_are_as_a_data_sets_are(simulated):
    folder, _ = simulated
    for case in Cases.read(folder):
        image, clean = nibabel.load(case.volumes["T1-loud"]), nibabel.load(case.volumes["T1"])
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, clean.affine)
        assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)


def test_the_window_is_the_one_that_a_new_scan_of_that_kind_would_get(simulated):
    folder, _ = simulated
    description = describe_modalities(folder, "T1-loud", "T1")
    (source,), (target,) = description["source"], description["target"]
    assert source["intensity"] == target["intensity"]
    assert (source["modality"], source["kind"], source["background"]) == ("T1-loud", "MR", 0.0)
    for case in Cases.read(folder):
        item = ReadVolumesd("source")({"source": str(case.volumes["T1-loud"])})
        ((lower, upper, unit),) = FitWindowd("source", [source["intensity"]])(item)["windows"]["source"]
        assert (lower, upper, unit) == tuple(case.windows["T1-loud"].record().values())


def test_draws_depend_on_seed_and_case_alone(task, clean, simulated, tmp_path):
    """Not on the other cases, on how many draws there are, or on the number of processes."""
    folder, _ = simulated
    fewer = shutil.copytree(clean, tmp_path / "fewer")
    Cases(fewer, tuple(Cases.read(fewer))[2:]).write()
    simulate_dataset(task, fewer, tmp_path / "out", workers=1)
    other = simulate_dataset(task, fewer, tmp_path / "other", seed=1, workers=1)
    for case in Cases.read(tmp_path / "out"):
        same = (folder / case.name / "T1-loud.nii").read_bytes()
        assert case.volumes["T1-loud"].read_bytes() == same
        assert (tmp_path / "other" / case.name / "T1-loud.nii").read_bytes() != same
    assert (other["status"] == "ok").all()


def test_the_table_says_every_case_with_its_parameters(simulated):
    folder, table = simulated
    read = pd.read_csv(folder / "simulate.csv", keep_default_na=False)
    assert list(read["case"]) == list(table["case"])
    assert set(read["status"]) == {"ok"}
    record = json.loads((folder / "head-0001/T1-loud_draw2.json").read_text())["simulated"]
    row = read[read["case"] == "head-0001_draw2"].iloc[0]
    assert row["Louder.gain"] == pytest.approx(record["degradations"][0]["parameters"]["gain"])
    assert {path.stem for path in (folder / "qa").glob("*.png")} == set(read["case"])


def test_a_second_run_keeps_everything_and_more_draws_are_added(task, clean, tmp_path, simulated):
    folder = shutil.copytree(simulated[0], tmp_path / "set")
    kept = {path: told for path, told in files(folder).items() if path.suffix in (".nii", ".png")}
    again = simulate_dataset(task, clean, folder, draws=2, workers=1)
    assert again["kept"].all()
    assert "8 of 8 cases simulated" in simulation_summary(again, folder)
    more = simulate_dataset(task, clean, folder, draws=3, workers=1)
    assert list(more["kept"]) == [True, True, False] * 4
    now = files(folder)
    degraded = [path for path in kept if "loud" in path.name]
    assert degraded
    assert all(now[path] == kept[path] for path in degraded)
    assert len(Cases.read(folder)) == 12


def test_a_killed_run_is_finished_by_the_next_one(task, clean, simulated, tmp_path, monkeypatch):
    expected, folder, applied = simulated[0], tmp_path / "set", []
    apply = Degradation.reapply

    def killed(self, *args, **options):
        applied.append(1)
        if len(applied) == 3:
            raise KeyboardInterrupt
        return apply(self, *args, **options)

    monkeypatch.setattr(Degradation, "reapply", killed)
    with pytest.raises(KeyboardInterrupt):
        simulate_dataset(task, clean, folder, draws=2, workers=1)
    assert not (folder / "cases.csv").exists()
    (folder / "head-0001" / ".partial-0badc0de-T1-loud.nii").write_bytes(b"left by a killed writer")
    table = simulate_dataset(task, clean, folder, draws=2, workers=1)
    assert list(table["kept"]) == [True, True] + [False] * 6
    assert len(applied) == 3 + 6
    volumes = [path.relative_to(expected) for path in expected.rglob("*.nii")]
    assert all((folder / path).read_bytes() == (expected / path).read_bytes() for path in volumes)
    assert (folder / "cases.csv").read_text() == (expected / "cases.csv").read_text()
    assert not list(folder.rglob(".partial-*"))


def test_what_has_changed_is_made_again(task, clean, tmp_path):
    mine = shutil.copytree(clean, tmp_path / "clean")
    simulate_dataset(task, mine, tmp_path / "out", workers=1)
    path = mine / "head-0002" / "T1.nii"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32) * 2, image.affine), path)
    (tmp_path / "out" / "head-0003" / "T1-loud.nii").unlink()
    again = simulate_dataset(task, mine, tmp_path / "out", workers=1)
    assert dict(zip(again["case"], again["kept"], strict=True)) == {
        "head-0000": True, "head-0001": True, "head-0002": False, "head-0003": False
    }  # fmt: skip
    assert (tmp_path / "out/head-0002/T1.nii").read_bytes() == path.read_bytes()


def test_a_case_that_fails_stands_in_the_table_and_the_rest_is_done(louder_task, clean, tmp_path):
    mine = shutil.copytree(clean, tmp_path / "clean")
    first, second, *others = Cases.read(mine)
    without = {name: path for name, path in second.volumes.items() if name != "T1"}
    Cases(mine, (first, type(second)(**{**vars(second), "volumes": without}), *others)).write()
    loudest = max((first, *others), key=lambda case: values(case.volumes["T1"]).max())
    limit = float(values(loudest.volumes["T1"]).max()) - 0.5
    louder = Task.read(louder_task, {"train#degradation#0#failing": limit})
    table = simulate_dataset(louder, mine, tmp_path / "out", workers=1).set_index("case")
    failed = table[table["status"] == "failed"]
    assert set(failed.index) == {second.name, loudest.name}
    assert "has no T1" in failed.loc[second.name, "reason"]
    assert "is too loud already" in failed.loc[loudest.name, "reason"]
    assert {case.name for case in Cases.read(tmp_path / "out")} == set(table.index) - set(failed.index)
    assert "2 of 4 cases" in simulation_summary(table.reset_index(), tmp_path / "out")


def test_of_a_case_that_fails_no_draws_of_its_former_volumes_stay(louder_task, clean, tmp_path):
    mine, out = shutil.copytree(clean, tmp_path / "clean"), tmp_path / "out"
    Cases(mine, tuple(Cases.read(mine))[:2]).write()
    louder = Task.read(louder_task, {"train#degradation#0#failing": 1e6})
    assert set(simulate_dataset(louder, mine, out, draws=3, workers=1)["status"]) == {"ok"}
    kept = files(out / "head-0001")
    path = mine / "head-0000/T1.nii"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(dtype=np.float32) * 1e6, image.affine), path)
    table = simulate_dataset(louder, mine, out, draws=2, workers=1)
    assert dict(zip(table["case"], table["status"], strict=True))["head-0000"] == "failed"
    assert not (out / "head-0000").exists()
    assert not list(out.glob("qa/head-0000*"))
    assert files(out / "head-0001") == kept


def test_a_data_set_in_another_unit_than_the_task_counts_with_fails_with_what_to_set(tmp_path):
    write_phantom_cohort(tmp_path / "clean", 3, ["PET"], 12.0)
    cases = Cases.read(tmp_path / "clean")
    windows = [{"PET": replace(case.windows["PET"], unit="kBq/ml")} for case in cases]
    Cases(cases.root, tuple(replace(case, windows=new) for case, new in zip(cases, windows, strict=True))).write()
    path, few = PET_DENOISING, {"train#degradation#0#iterations": 1}
    failed = simulate_dataset(Task.read(path, few), tmp_path / "clean", tmp_path / "out", workers=1)
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains("in kBq/ml, .*set unit to kBq/ml").all()
    told = Task.read(path, {**few, "unit": "kBq/ml"})
    table = simulate_dataset(told, tmp_path / "clean", tmp_path / "told", workers=1)
    assert set(table["status"]) == {"ok"}
    assert set(table["LowCountPET.unit"]) == {"kBq/ml"}


def test_other_folders_are_refused_and_left_alone(task, louder_task, clean, simulated, tmp_path):
    folder = shutil.copytree(simulated[0], tmp_path / "set")
    before = files(folder)
    quiet = Task.read(louder_task, {"gain": 1})
    for refused, problem in [
        (lambda: simulate_dataset(task, clean, folder, seed=1), "simulation of other settings .seed 0 instead of 1"),
        (lambda: simulate_dataset(quiet, clean, folder), "other settings .gain"),
        (lambda: simulate_dataset(task, clean, clean), "is or holds the clean data set"),
        (lambda: simulate_dataset(task, clean, clean / "new"), "lies in it"),
        (lambda: simulate_dataset(task, clean, clean.parent), "is or holds"),
        (lambda: simulate_dataset(task, folder, tmp_path / "new"), "has a modality 'T1-loud' already"),
    ]:
        with pytest.raises(InputError, match=problem):
            refused()
    assert files(folder) == before
    another = shutil.copytree(clean, tmp_path / "another")
    with pytest.raises(InputError, match="holds another data set"):
        simulate_dataset(task, clean, another)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        simulate_dataset(task, clean, tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["thesis.tex"]


def test_a_folder_of_other_cases_is_refused_and_left_alone(task, clean, simulated, tmp_path):
    """Other people under the same names, or people that are missing: their volumes would stay behind."""
    folder = shutil.copytree(simulated[0], tmp_path / "set")
    before = files(folder)
    others = shutil.copytree(clean, tmp_path / "others")
    for case in Cases.read(others):
        image = nibabel.load(case.volumes["T1"])
        mirrored = np.ascontiguousarray(image.get_fdata(dtype=np.float32)[::-1])
        nibabel.save(nibabel.Nifti1Image(mirrored, image.affine), case.volumes["T1"])
    fewer = shutil.copytree(clean, tmp_path / "fewer")
    Cases(fewer, tuple(Cases.read(fewer))[:3]).write()
    for other in (others, fewer):
        with pytest.raises(InputError, match=r"holds a simulation of other cases .*Choose another folder"):
            simulate_dataset(task, other, folder, draws=2, workers=1)
    assert files(folder) == before


def test_subjects_may_come_later_and_a_moved_clean_set_is_the_same(task, clean, tmp_path):
    mine = shutil.copytree(clean, tmp_path / "clean")
    Cases(mine, tuple(Cases.read(mine))[:2]).write()
    simulate_dataset(task, mine, tmp_path / "out", workers=1)
    moved = shutil.copytree(clean, tmp_path / "moved")
    grown = simulate_dataset(task, moved, tmp_path / "out", workers=1)
    assert list(grown["kept"]) == [True, True, False, False]
    assert set(json.loads((tmp_path / "out/recipe.json").read_text())["simulated"]["cases"]) == set(grown["case"])


def test_a_simulated_set_is_simulated_again_where_names_stay_unique(louder_task, simulated, tmp_path):
    folder, _ = simulated
    louder = Task.read(louder_task, {"source_name": "T1-louder"})
    with pytest.raises(InputError, match=r"head-0000_draw2.* Use --draws 1, or simulate the clean set\."):
        simulate_dataset(louder, folder, tmp_path / "twice", draws=2, workers=1)
    assert not (tmp_path / "twice").exists()
    table = simulate_dataset(louder, folder, tmp_path / "once", workers=1)
    assert list(table["case"]) == [case.name for case in Cases.read(folder)]
    first, second = (json.loads((of / "recipe.json").read_text())["simulated"] for of in (folder, tmp_path / "once"))
    assert second["before"] == first
    assert (first["config"]["source_name"], second["config"]["source_name"]) == ("$@target + '-loud'", "T1-louder")


def test_two_steps_of_one_kind_have_their_own_columns(louder_task, clean, tmp_path):
    steps = [{"_target_": "tiny_degradation.Louderd", "keys": "source", "gain": gain} for gain in (2, 3)]
    steps.append({"_target_": "DeleteItemsd", "keys": "CT"})
    table = simulate_dataset(Task.read(louder_task, {"train::degradation": steps}), clean, tmp_path / "out", workers=1)
    assert set(table["Louder.gain"]) == {2.0}
    assert set(table["Louder2.gain"]) == {3.0}


def test_a_measured_trajectory_counts_by_its_content_and_is_recorded_by_its_name(louder_task, clean, tmp_path):
    table, mine = tmp_path / "poses.csv", shutil.copytree(clean, tmp_path / "clean")
    Cases(mine, tuple(Cases.read(mine))[:1]).write()
    table.write_text("fraction,rx,ry,rz,tx,ty,tz\n0,0,0,0,0,0,0\n1,9,0,0,0,0,0\n")
    moved = [{"_target_": "medtrans.simulate.MRMotiond", "keys": "source", "table": str(table)}]
    moved.append({"_target_": "DeleteItemsd", "keys": "CT"})
    first = Task.read(louder_task, {"train::degradation": moved})
    simulate_dataset(first, mine, tmp_path / "out", workers=1)
    recorded = (tmp_path / "out/recipe.json").read_text()
    assert "poses.csv" in recorded
    assert str(tmp_path) not in recorded
    there = shutil.copy(table, tmp_path / "clean/poses.csv")
    again = Task.read(louder_task, {"train::degradation": [{**moved[0], "table": there}, moved[1]]})
    assert simulate_dataset(again, mine, tmp_path / "out", workers=1)["kept"].all()
    state = table.stat()
    table.write_text(table.read_text().replace("9", "8"))
    os.utime(table, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(InputError, match=r"other settings \(train\)"):
        simulate_dataset(Task.read(louder_task, {"train::degradation": moved}), mine, tmp_path / "out", workers=1)


def test_a_data_set_without_the_modality_is_refused(louder_task, clean, tmp_path):
    with pytest.raises(InputError, match=r"has no modality 'T2', which louder degrades\. It has T1, CT"):
        simulate_dataset(Task.read(louder_task, {"target": "T2"}), clean, tmp_path / "out")


def test_a_simulated_set_of_phantoms_is_no_phantom_cohort(simulated, tmp_path):
    with pytest.raises(InputError, match="another data set"):
        write_phantom_cohort(simulated[0], 4, ["T1", "CT"], 12.0)


@pytest.mark.slow
def test_two_processes_make_what_one_makes(clean, simulated, tmp_path, run_medtrans, louder_task, monkeypatch):
    """With the tiny class on the path of the workers, too."""
    from pathlib import Path

    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    )
    words = ["simulate", louder_task, clean, tmp_path / "out", "--draws", "2", "--workers", "2"]
    assert run_medtrans(*words)[0] == 0
    for path in simulated[0].rglob("*.nii"):
        assert (tmp_path / "out" / path.relative_to(simulated[0])).read_bytes() == path.read_bytes()
