"""A phantom cohort is a data set: readable, split by subject, reproducible, restartable, shared by processes."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import medtrans.cohorts.phantom as module
from medtrans.cli import app
from medtrans.cohorts import Cases, default_phantom_dataset, write_phantom_cohort
from medtrans.cohorts.phantom import cache_folder
from medtrans.errors import InputError
from medtrans.simulate import HeadPhantom
from medtrans.transforms import PercentileWindow

COARSE = 8.0


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cases:
    return write_phantom_cohort(tmp_path_factory.mktemp("phantoms") / "set", 4, ("T1", "CT", "PET"), COARSE, seed=3)


def test_table_reads_back_as_written(cohort):
    assert Cases.read(cohort.root) == cohort
    assert cohort.modalities == ["T1", "CT", "PET"]
    for case in cohort:
        assert case.spacing == (COARSE,) * 3
        assert case.shape == nibabel.load(case.volumes["T1"]).shape == (24, 28, 24)


def test_every_split_has_a_subject_and_no_subject_two_splits(cohort):
    assert {case.split for case in cohort} == {"train", "validation", "test"}
    assert len({case.subject for case in cohort}) == 4


@pytest.mark.parametrize(("subjects", "expected"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (20, (14, 3, 3))])
def test_split_sizes(tmp_path, monkeypatch, subjects, expected):
    volume = {name: np.linspace(0, 9, 24, dtype=np.float32).reshape(2, 3, 4) for name in ("T1", "mask", "label")}
    stand_in = SimpleNamespace(images=lambda modalities: volume, affine=np.eye(4), spacing=(1.0, 1.0, 1.0))
    monkeypatch.setattr(module, "HeadPhantom", lambda *_, **__: stand_in)
    monkeypatch.setattr(module, "case_picture", lambda path, *_: path)
    splits = [case.split for case in write_phantom_cohort(tmp_path / "set", subjects, ["T1"], 12.0)]
    assert tuple(splits.count(split) for split in ("train", "validation", "test")) == expected
    again = [case.split for case in write_phantom_cohort(tmp_path / "again", subjects, ["T1"], 12.0)]
    assert again == splits


def test_volumes_are_the_phantoms_in_nifti(cohort):
    case = cohort.cases[1]
    phantom = HeadPhantom(3 * module.SEEDS_A_COHORT + 1, COARSE)
    expected = phantom.images(["T1", "CT", "PET"])
    paths = {**case.volumes, "mask": case.mask, "label": case.label}
    for name, path in paths.items():
        image = nibabel.load(path)
        assert path == cohort.root / case.name / f"{name}.nii"
        assert np.array_equal(np.asanyarray(image.dataobj), expected[name])
        assert image.get_data_dtype() == (np.uint8 if name in ("mask", "label") else np.float32)
        for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
            np.testing.assert_allclose(affine, phantom.affine, atol=1e-4)
            assert code == 1
        assert image.header.get_xyzt_units()[0] == "mm"
        assert isinstance(image.dataobj.get_unscaled(), np.memmap)


def test_windows_follow_the_rules_of_the_recipe(cohort):
    recipe = json.loads((cohort.root / "recipe.json").read_text())
    assert recipe["spacing"] == [COARSE] * 3
    assert recipe["modalities"]["CT"]["intensity"]["_target_"] == "medtrans.transforms.FixedWindow"
    assert recipe["modalities"]["CT"]["background"] == -1024
    case = cohort.cases[0]
    assert (case.windows["CT"].lower, case.windows["CT"].upper, case.windows["CT"].unit) == (-1024, 2000, "HU")
    assert (case.windows["PET"].lower, case.windows["PET"].upper, case.windows["PET"].unit) == (0, 20, "SUV")
    t1, mask = (np.asanyarray(nibabel.load(path).dataobj) for path in (case.volumes["T1"], case.mask))
    assert case.windows["T1"] == PercentileWindow(upper=99.5)(t1, mask)
    assert recipe["modalities"]["T1"]["intensity"]["upper"] == 99.5


def test_every_case_has_a_picture(cohort):
    assert sorted(p.name for p in (cohort.root / "qa").iterdir()) == [f"{case.name}.png" for case in cohort]


def test_same_settings_give_the_same_files(cohort, tmp_path):
    again = write_phantom_cohort(tmp_path / "set", 4, ("T1", "CT", "PET"), COARSE, seed=3)
    assert files(again.root) == files(cohort.root)


class Killed(BaseException):
    """What a kill looks like from inside."""


def test_a_killed_run_resumes_and_keeps_what_was_finished(cohort, tmp_path, monkeypatch):
    root, made = tmp_path / "set", []
    original = HeadPhantom.images

    def images(self, modalities):
        made.append(self.seed)
        if len(made) == 3:
            raise Killed
        return original(self, modalities)

    monkeypatch.setattr(module.HeadPhantom, "images", images)
    arguments = (root, 4, ("T1", "CT", "PET"), COARSE, 3)
    with pytest.raises(Killed):
        write_phantom_cohort(*arguments)
    with pytest.raises(InputError, match=r"cases\.csv"):
        Cases.read(root)
    (root / "head-0001" / "PET.nii").unlink()  # killed between two files of a case
    kept = (root / "head-0000" / "T1.nii").stat().st_mtime_ns
    write_phantom_cohort(*arguments)
    assert [seed % 10 for seed in made] == [0, 1, 2, 1, 2, 3]
    assert (root / "head-0000" / "T1.nii").stat().st_mtime_ns == kept
    assert files(root) == files(cohort.root)


@pytest.mark.parametrize(
    "change", [{"subjects": 5}, {"spacing": 9.0}, {"seed": 4}, {"lesions": True}, {"modalities": ("T1",)}]
)
def test_other_settings_in_the_same_folder_are_refused(cohort, change):
    settings = {"subjects": 4, "modalities": ("T1", "CT", "PET"), "spacing": COARSE, "seed": 3} | change
    with pytest.raises(InputError, match=rf"other settings \({next(iter(change))}.*another folder"):
        write_phantom_cohort(cohort.root, **settings)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        write_phantom_cohort(tmp_path, 3, spacing=COARSE)
    (tmp_path / "recipe.json").write_text('{"spacing": [1, 1, 1]}')
    with pytest.raises(InputError, match="another data set"):
        write_phantom_cohort(tmp_path, 3, spacing=COARSE)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"subjects": 0}, "too few"),
        ({"modalities": ("T1", "US")}, "US"),
        ({"modalities": ()}, "are none"),
        ({"spacing": 0.0}, "out of range"),
        ({"spacing": float("nan")}, "out of range"),
        ({"seed": -1}, "negative"),
        ({"fractions": (0.5, 0.5)}, "unusable"),
        ({"fractions": (0.5, 0.2, 0.2)}, "unusable"),
        ({"fractions": (0.0, 0.5, 0.5)}, "unusable"),
    ],
)
def test_unusable_settings_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        write_phantom_cohort(tmp_path / "set", **({"subjects": 3, "spacing": COARSE} | settings))
    assert not (tmp_path / "set").exists()


def test_lesions_are_in_all_in_none_or_by_chance(tmp_path):
    for lesions, wanted in ((True, {True}), (False, {False})):
        root = tmp_path / str(lesions)
        write_phantom_cohort(root, 2, ["CT"], 6.0, lesions=lesions)
        seen = {bool((np.asanyarray(nibabel.load(p).dataobj) >= 16).any()) for p in root.glob("*/label.nii")}
        assert seen == wanted


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTRANS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("MEDTRANS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "medtrans"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "medtrans"


def test_default_data_set_is_made_once_even_when_many_ask(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDTRANS_CACHE", str(tmp_path))
    writing = []

    def slowly(*arguments, **keywords):
        writing.append(1)
        time.sleep(0.2)
        return write_phantom_cohort(*arguments, **keywords)

    monkeypatch.setattr(module, "write_phantom_cohort", slowly)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(default_phantom_dataset(3, 12.0, ("T1",)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(writing) == 1
    assert len(set(found)) == 1
    assert len(found) == 3
    assert len(Cases.read(found[0])) == 3
    assert default_phantom_dataset(3, 12.0, ("T1", "T2")) != found[0]
    (found[0] / "head-0001" / "T1.nii").unlink()  # somebody tidied up
    assert default_phantom_dataset(3, 12.0, ("T1",)) == found[0]
    assert (found[0] / "head-0001" / "T1.nii").is_file()


def test_unwritable_cache_is_refused_with_the_variables_name(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDTRANS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="MEDTRANS_CACHE"):
        default_phantom_dataset(3, 12.0)


@pytest.mark.slow
def test_processes_share_the_default_data_set(tmp_path):
    code = "from medtrans.cohorts import default_phantom_dataset as d; print(d(3, 12.0))"
    environment = os.environ | {"MEDTRANS_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate(timeout=300)[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(answers) == 1
    assert len(Cases.read(Path(answers.pop()))) == 3


def test_command_writes_a_cohort_and_refuses_bad_input(tmp_path):
    runner = CliRunner()
    arguments = ["phantom", str(tmp_path / "set"), "--subjects", "3", "--modalities", "T1, CT", "--spacing", "12"]
    result = runner.invoke(app, [*arguments, "--no-lesion"])
    assert result.exit_code == 0, result.output
    assert "3 cases" in result.output
    assert Cases.read(tmp_path / "set").modalities == ["T1", "CT"]
    refused = runner.invoke(app, [*arguments, "--lesion"])
    assert isinstance(refused.exception, InputError)
