"""Bad input to ``medtrans simulate``."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def simulate(kit, louder_task):
    def words(source, *more, task=louder_task, out="out"):
        return ["simulate", task, source, kit.folder / out, *more]

    return words


@pytest.fixture
def finished(kit, simulate, run_medtrans):
    """A run that ended well."""
    code, _ = run_medtrans(*simulate(kit.phantoms, "--workers", "1"))
    assert code == 0
    return kit.folder / "out"


def test_input_that_is_not_there(kit, simulate, refused):
    refused(simulate(kit.folder / "nowhere"), "nowhere", "does not exist")


def test_volume_that_is_not_there(kit, simulate, refused):
    refused(simulate(kit.folder / "no.nii.gz", out="out/made.nii.gz"), "no.nii.gz", "does not exist")


def test_folder_that_is_no_data_set(kit, simulate, refused):
    refused(simulate(kit.scans()), "in", "is not a data set", "medtrans prepare")


def test_task_that_is_not_there(kit, simulate, refused):
    refused(simulate(kit.phantoms, task=kit.folder / "no.json"), "no.json", "does not exist")


def test_recipe_in_place_of_a_task(kit, simulate, refused):
    refused(simulate(kit.phantoms, task=kit.recipe), "t1_t2.json", "It needs source, source_name")


def test_broken_task(kit, simulate, refused):
    (kit.folder / "broken.json").write_text('{"source": ')
    refused(simulate(kit.phantoms, task=kit.folder / "broken.json"), "broken.json", "not a readable config")


def test_misspelt_setting(kit, simulate, refused):
    refused(simulate(kit.phantoms, "--set", "gian=2"), "gian", "does not exist in the task", "gain")


def test_task_of_another_modality(kit, simulate, refused):
    refused(simulate(kit.phantoms, "--set", "target=PD"), "has no modality 'PD'", "T1, T2", "--set target=")


def test_task_of_another_kind_of_scan(kit, simulate, refused):
    task = kit.bundle.parents[1] / "tasks/low_dose_ct.json"
    refused(simulate(kit.phantoms, task=task), "has no modality 'CT', which low_dose_ct degrades", "T1, T2")


def test_output_that_is_a_file(kit, simulate, refused):
    (kit.folder / "out").write_text("a file")
    refused(simulate(kit.phantoms), "out", "cannot be written", "Choose a folder")


def test_output_that_is_another_data_set(kit, simulate, refused):
    other = kit.data_set()
    before = {path: path.read_bytes() for path in kit.written(other)}
    refused(simulate(kit.phantoms, out="set"), "set", "holds another data set", "Choose another folder")
    assert {path: path.read_bytes() for path in kit.written(other)} == before


def test_output_that_is_a_simulation_of_other_settings(kit, finished, simulate, refused):
    before = {path: path.read_bytes() for path in kit.written(finished)}
    refused(simulate(kit.phantoms, "--seed", "5"), "out", "seed 0 instead of 5", "Choose another folder")
    assert {path: path.read_bytes() for path in kit.written(finished)} == before


def test_output_in_the_input(kit, simulate, refused):
    data = kit.data_set()
    refused(["simulate", simulate(data)[1], data, data / "loud"], "loud", "Choose a folder of its own")


def test_output_of_one_volume_that_is_no_nifti_file(kit, simulate, refused):
    refused(simulate(kit.scans() / "s0.nii.gz"), "out", "is not named as a NIfTI volume")


def test_one_volume_that_cannot_be_read(kit, simulate, refused):
    scans = kit.scans(cases=(0, 1, 2))
    kit.cut(scans / "s0.nii.gz")
    kit.as_colours(scans / "s1.nii.gz")
    kit.spoil(scans / "s2.nii.gz", kit.with_nan)
    for name, problem in (("s0.nii.gz", "cannot be read"), ("s1.nii.gz", "colours"), ("s2.nii.gz", "NaN")):
        refused(simulate(scans / name, out="out/made.nii.gz"), name, problem)


def test_a_companion_on_another_grid(kit, simulate, refused):
    scans = kit.scans(cases=(0,))
    values = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    nib.save(nib.Nifti1Image(values, np.eye(4)), kit.folder / "ct.nii")
    words = simulate(scans / "s0.nii.gz", "--with", f"CT={kit.folder / 'ct.nii'}", out="out/made.nii.gz")
    refused(words, "ct.nii", "not on the grid", "medtrans prepare")


def test_a_listed_volume_that_went(kit, simulate, refused):
    data = kit.data_set()
    (data / "head-0002/T1.nii").unlink()
    refused(simulate(data), "head-0002/T1.nii", "is listed for case head-0002 but does not exist", "Restore it")


def test_truncated_and_nan_volumes_are_recorded_and_the_rest_is_done(kit, simulate, partly_done):
    data = kit.data_set()
    kit.cut(data / "head-0001/T1.nii")
    kit.spoil(data / "head-0003/T1.nii", kit.with_nan)
    partly_done(simulate(data, "--workers", "1"), "head-0001/T1.nii", "cut off", "head-0003", "not finite", good=10)
    status = pd.read_csv(kit.folder / "out/simulate.csv").set_index("case")["status"]
    assert dict(status) == {"head-0000": "ok", "head-0001": "failed", "head-0002": "ok", "head-0003": "failed"}
    assert list(pd.read_csv(kit.folder / "out/cases.csv")["case"]) == ["head-0000", "head-0002"]
    assert not (kit.folder / "out/head-0001").exists()
    assert not (kit.folder / "out/head-0003").exists()


def test_the_failed_case_is_made_once_its_volume_is_mended(kit, simulate, partly_done, run_medtrans):
    data = kit.data_set()
    whole = shutil.copy(data / "head-0001/T1.nii", kit.folder / "whole.nii")
    kit.cut(data / "head-0001/T1.nii")
    partly_done(simulate(data, "--workers", "1"), "head-0001/T1.nii", good=15)
    shutil.copy(whole, data / "head-0001/T1.nii")
    code, _ = run_medtrans(*simulate(data, "--workers", "1"))
    assert code == 0
    table = pd.read_csv(kit.folder / "out/simulate.csv").set_index("case")
    assert dict(table["kept"]) == {"head-0000": True, "head-0001": False, "head-0002": True, "head-0003": True}
    record = json.loads((kit.folder / "out/head-0001/T1-loud.json").read_text())["simulated"]
    made, clean = (nib.load(kit.folder / f"out/head-0001/{name}.nii").get_fdata() for name in ("T1-loud", "T1"))
    np.testing.assert_allclose(made, record["degradations"][0]["parameters"]["gain"] * clean, rtol=1e-5)
