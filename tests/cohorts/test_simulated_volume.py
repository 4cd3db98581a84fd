"""One NIfTI volume in, one out: on its own grid, in its own axis order, whatever that is."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medtrans import InputError
from medtrans.cohorts.simulated_volume import named_volumes, simulate_volume
from medtrans.cohorts.tasks import Task

SHAPE = (6, 5, 4)
SAGITTAL = np.array([[0, 0, 1.2, -9], [-0.9, 0.05, 0, 20], [0.05, 0.9, 0, -30], [0, 0, 0, 1]])  # posterior, up, right

PET_DENOISING = Path(__file__).parents[2] / "tasks" / "pet_denoising.json"


@pytest.fixture(scope="module")
def task(louder_task):
    return Task.read(louder_task)


@pytest.fixture
def scan(tmp_path):
    values = np.random.default_rng(0).uniform(0, 100, SHAPE).astype(np.float32)
    image = nibabel.Nifti1Image(values, SAGITTAL)
    image.set_sform(SAGITTAL, 4)
    image.set_qform(SAGITTAL, 1, strip_shears=True)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_the_volume_keeps_its_grid_header_and_axis_order(task, scan, tmp_path):
    (record,) = simulate_volume(task, scan, tmp_path / "out/made.nii.gz", seed=2)
    clean, made = nibabel.load(scan), nibabel.load(tmp_path / "out/made.nii.gz")
    gain = record["parameters"]["gain"]
    np.testing.assert_allclose(made.get_fdata(), gain * clean.get_fdata(), rtol=1e-5)
    np.testing.assert_array_equal(made.affine, clean.affine)
    assert (made.header["sform_code"], made.header["qform_code"]) == (4, 1)
    assert made.get_data_dtype() == np.float32


def test_the_degradation_sees_right_front_up_with_their_voxel_sizes(task, scan, tmp_path):
    (record,) = simulate_volume(task, scan, tmp_path / "made.nii", seed=2)
    expected = nibabel.affines.voxel_sizes(nibabel.as_closest_canonical(nibabel.load(scan)).affine)
    np.testing.assert_allclose(record["parameters"]["spacing"], expected, rtol=1e-6)
    assert expected[0] == pytest.approx(1.2)


def test_the_record_lies_beside_it_and_says_no_file_name(task, scan, tmp_path):
    scan.with_name("scan.json").write_text(json.dumps({"Modality": "MR", "unit": "", "patient": "patient-007"}))
    records = simulate_volume(task, scan, tmp_path / "made.nii.gz", seed=2)
    told = json.loads((tmp_path / "made.json").read_text())
    assert told["simulated"] == {"task": "louder", "from": "T1", "seed": 2, "degradations": records}
    assert told["Modality"] == "MR"
    assert "patient" not in told
    assert "scan" not in json.dumps(told)


def test_a_companion_is_looked_at_and_must_lie_on_the_grid(louder_task, scan, tmp_path):
    task = Task.read(louder_task, {"gain": 1})
    clean = nibabel.load(scan)
    nibabel.save(nibabel.Nifti1Image(np.full(SHAPE, 7, np.float32) + clean.get_fdata(), SAGITTAL), tmp_path / "ct.nii")
    simulate_volume(task, scan, tmp_path / "made.nii", companions={"CT": tmp_path / "ct.nii"})
    np.testing.assert_allclose(nibabel.load(tmp_path / "made.nii").get_fdata(), 2 * clean.get_fdata() + 7, rtol=1e-5)
    nibabel.save(nibabel.Nifti1Image(clean.get_fdata(), np.eye(4)), tmp_path / "far.nii")
    with pytest.raises(InputError, match="not on the grid of the scan"):
        simulate_volume(task, scan, tmp_path / "made.nii", companions={"CT": tmp_path / "far.nii"})
    with pytest.raises(InputError, match=r"companion T2: is not looked at by louder\. It knows: CT"):
        simulate_volume(task, scan, tmp_path / "made.nii", companions={"T2": scan})


def test_no_input_nor_its_sidecar_is_ever_overwritten(louder_task, scan, tmp_path):
    """Neither by the degraded volume, nor by what is made beside it, nor by their sidecars."""
    task = Task.read(louder_task)
    for name in ("ct.nii", "made_T1-reference.nii.gz"):
        (tmp_path / name).write_bytes(scan.read_bytes())
    (tmp_path / "scan.json").write_text('{"Modality": "MR"}')
    (tmp_path / "link.nii.gz").symlink_to(scan)
    with_reference = Task.read(louder_task, {"target_name": "T1-reference", "source_name": "T1-loud"})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for plan, output, companion in [
        (task, "scan.nii.gz", "ct.nii"),
        (task, "scan.nii", "ct.nii"),  # scan.json would be replaced
        (task, "link.nii.gz", "ct.nii"),
        (task, "ct.nii", "ct.nii"),
        (task, "ct.nii.gz", "ct.nii"),  # ct.json may come later, and would not be that of ct.nii
        (with_reference, "made.nii.gz", "made_T1-reference.nii.gz"),
        (with_reference, "made.nii", "made_T1-reference.nii.gz"),
    ]:
        with pytest.raises(InputError, match=f"{output}: would overwrite an input or its sidecar. Give another name"):
            simulate_volume(plan, scan, tmp_path / output, companions={"CT": tmp_path / companion})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_header_tells_of_the_grid_and_of_nobody(task, scan, tmp_path):
    image = nibabel.load(scan)
    written = {"descrip": b"DOE^JOHN", "db_name": b"DOE^JOHN", "aux_file": b"DOE^JOHN", "intent_name": b"DOE^JOHN"}
    for field, value in {**written, "cal_max": 17.0, "cal_min": 3.0}.items():
        image.header[field] = value
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"PatientName DOE^JOHN"))
    nibabel.save(image, tmp_path / "named.nii")
    assert (tmp_path / "named.nii").read_bytes().count(b"DOE^JOHN") == 5
    simulate_volume(task, tmp_path / "named.nii", tmp_path / "made.nii")
    made = nibabel.load(tmp_path / "made.nii").header
    assert b"DOE" not in (tmp_path / "made.nii").read_bytes()
    assert (float(made["cal_min"]), float(made["cal_max"]), len(made.extensions)) == (0, 0, 0)
    for field in ("pixdim", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "xyzt_units"):
        np.testing.assert_array_equal(made[field], image.header[field])


def test_the_unit_of_the_sidecar_is_held_against_that_of_the_task(scan, tmp_path):
    """PET in becquerels that is counted as SUV would come out without noise."""
    settings = {"train#degradation#0#iterations": 1, "train#degradation#0#views": 16}
    assumed, told = (Task.read(PET_DENOISING, {**settings, **unit}) for unit in ({}, {"unit": "kBq/ml"}))
    scan.with_name("scan.json").write_text(json.dumps({"Modality": "PT", "unit": "kBq/ml"}))
    with pytest.raises(InputError, match=r"scan\.nii\.gz: cannot be degraded: .* in kBq/ml.*: set unit to kBq/ml"):
        simulate_volume(assumed, scan, tmp_path / "made.nii")
    assert simulate_volume(told, scan, tmp_path / "made.nii")[0]["parameters"]["unit"] == "kBq/ml"
    scan.with_name("scan.json").unlink()
    assert simulate_volume(assumed, scan, tmp_path / "made.nii")[0]["parameters"]["unit"] == "SUV"


def test_useless_files_are_refused(task, scan, tmp_path):
    with pytest.raises(InputError, match="not named as a NIfTI volume"):
        simulate_volume(task, scan, tmp_path / "made.dcm")
    with pytest.raises(InputError, match="cannot be read"):
        simulate_volume(task, tmp_path / "no.nii", tmp_path / "made.nii")
    with pytest.raises(InputError, match="--with CT: is not of the form"):
        named_volumes(["CT"])
    assert named_volumes(["CT=a=b.nii"])["CT"].name == "a=b.nii"


def test_the_command_takes_one_volume_and_says_what_it_made(louder_task, scan, tmp_path, run_medtrans):
    code, _ = run_medtrans("simulate", louder_task, scan, tmp_path / "made.nii", "--set", "gain=2", "--seed", "1")
    assert code == 0
    np.testing.assert_allclose(nibabel.load(tmp_path / "made.nii").get_fdata(), 2 * nibabel.load(scan).get_fdata())
    code, said = run_medtrans("simulate", louder_task, scan, tmp_path / "made.nii", "--set", "gian=2")
    assert code == 2
    assert "gian" in said
