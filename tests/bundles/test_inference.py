"""Whole volumes of any size, spacing and orientation through a trained bundle, as users run it."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medtrans.engines import run_inference

WINDOW = 1000.0  # the tiny data set's windows are [0, 1000]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_dataset, train_bundle):
    """The models folder of a few quick epochs T1 -> T2 on axial slices of 16 x 16."""
    return train_bundle(tmp_path_factory.mktemp("trained"), tiny_dataset, learning_rate=0.02, max_epochs=5)


@pytest.fixture(scope="module")
def translate(root):
    """``translate(models, source, output, …)``: the case's name -> image, and the rows of translated.csv."""

    def run(models, source, output, **overrides):
        rows = run_inference(root / "bundles/medgan", source, output, (), {"ckpt_dir": str(models), **overrides})
        return {row["case"]: nib.load(output / row["output"]) for row in rows}, rows

    return run


def rotated(degrees, spacing, flips=(1, 1, 1)):
    """An affine turned about two axes, with steps of ``spacing`` mm, axes flipped where ``flips`` is -1."""
    a, b = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(np.array(spacing) * flips)
    affine[:3, 3] = (11, -7, 23)
    return affine


def blob(shape, affine, seed=0):
    """A smooth positive volume with values up to 1000, as a function of the place in millimetres."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    centre = (np.array(shape) - 1) / 2 @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis((world - centre) / 12, -1, 0)
    values = np.exp(-(x**2 + (y - 0.2 * seed) ** 2 + z**2)) * (1 + 0.5 * np.sin(2 * x + y)) / 1.5
    return (1000 * values).astype(np.float32)


def write(path, shape, affine, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(blob(shape, affine, seed), affine), path)
    return path


GRIDS = {
    "oblique, anisotropic, flipped, odd": ((37, 29, 13), rotated((17, -11), (1.3, 0.9, 3.1), (-1, 1, 1))),
    "coronal stack": ((20, 23, 9), np.array([[1.5, 0, 0, 0], [0, 0, 4.0, 0], [0, -1.5, 0, 0], [0, 0, 0, 1.0]])),
    "smaller than the window": ((5, 7, 3), np.diag([2.0, 2.0, 2.0, 1.0])),
    "one slice": ((21, 19, 1), np.diag([-2.0, -2.0, 5.0, 1.0])),
    "larger than the window": ((40, 51, 12), np.diag([2.0, 2.0, 2.0, 1.0])),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_result_lies_on_the_sources_own_grid_in_the_targets_unit(name, trained, translate, tmp_path):
    shape, affine = GRIDS[name]
    images, _ = translate(trained, write(tmp_path / "scan.nii.gz", shape, affine), tmp_path / "out")
    image = images["scan"]
    values = image.get_fdata()
    assert image.shape == shape
    np.testing.assert_allclose(image.affine, nib.load(tmp_path / "scan.nii.gz").affine, atol=1e-5)
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= WINDOW
    assert values.std() > 1
    assert image.get_data_dtype() == np.float32
    assert image.header["descrip"].item().decode() == "synthetic T2"


def identity_models(models, folder, **changes):
    """A models folder of a network that gives back what it sees; ``changes`` go into modalities.json."""
    folder.mkdir()
    torch.save({}, folder / "model.pt")
    description = json.loads((models / "modalities.json").read_text())
    description["target"][0] |= changes
    (folder / "modalities.json").write_text(json.dumps(description))
    return folder


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_a_network_that_changes_nothing_gives_the_scan_back_in_the_other_unit(name, axis, trained, translate, tmp_path):
    shape, affine = GRIDS[name]
    models = identity_models(trained, tmp_path / "models", unit="HU", window=[-1000.0, 3000.0, "HU"])
    scan = write(tmp_path / "scan.nii.gz", shape, affine)
    rule = {"_target_": "medtrans.transforms.FixedWindow", "lower": 0, "upper": WINDOW}
    rules = {"preprocessing::transforms::2::rules": [rule], "network_def": {"_target_": "torch.nn.Identity"}}
    images, _ = translate(models, scan, tmp_path / "out", axis=axis, **rules)
    expected = nib.load(scan).get_fdata() * 4000 / WINDOW - 1000
    difference = np.abs(images["scan"].get_fdata() - expected)
    if "smaller" in name or "larger" in name:  # on the training grid already: nothing is interpolated
        assert difference.max() < 0.5
    else:  # two interpolations of a blob 12 mm wide on 2 mm
        assert difference.max() < 0.06 * 4000
        assert difference.mean() < 0.01 * 4000


def test_the_bundle_and_the_command_give_identical_voxels(
    trained, tmp_path, bundle_command, run_command, run_medtrans, root
):
    shape, affine = GRIDS["oblique, anisotropic, flipped, odd"]
    write(tmp_path / "scans/a.nii.gz", shape, affine)
    write(tmp_path / "scans/b.nii", shape[::-1], affine, seed=2)
    options = {"input": tmp_path / "scans", "output_dir": tmp_path / "bundle", "ckpt_dir": trained}
    run_command(*bundle_command("", root / "bundles/medgan/configs/inference.json", tiny=False, **options))
    code, _ = run_medtrans(
        "translate", root / "bundles/medgan", tmp_path / "scans", tmp_path / "command", "--set", f"ckpt_dir={trained}"
    )
    assert code == 0
    for name in ("a", "b"):
        one, other = (nib.load(tmp_path / out / f"{name}_T2_synthetic.nii.gz") for out in ("bundle", "command"))
        np.testing.assert_array_equal(one.get_fdata(), other.get_fdata())
        np.testing.assert_array_equal(one.affine, other.affine)


def test_of_a_data_set_the_chosen_split_is_translated_with_its_recorded_windows(
    trained, tiny_dataset, translate, tmp_path
):
    images, _ = translate(trained, tiny_dataset, tmp_path / "out")
    assert list(images) == ["case3"]
    _, rows = translate(trained, tiny_dataset, tmp_path / "all", split="all")
    assert {row["case"] for row in rows} == {"case0", "case1", "case2", "case3"}
    # by the rule the window of the bare file ends at its own 99.5th percentile, not at 1000
    alone, _ = translate(trained, tiny_dataset / "case3/T1.nii", tmp_path / "alone")
    assert np.abs(alone["T1"].get_fdata() - images["case3"].get_fdata()).max() > 1
    fixed = {"_target_": "medtrans.transforms.FixedWindow", "lower": 0, "upper": WINDOW}
    same, _ = translate(
        trained, tiny_dataset / "case3/T1.nii", tmp_path / "same", **{"preprocessing::transforms::2::rules": [fixed]}
    )
    np.testing.assert_array_equal(same["T1"].get_fdata(), images["case3"].get_fdata())


def test_a_dicom_folder_is_converted_and_translated_on_the_converted_grid(
    trained, translate, tmp_path, write_mr_series, run_medtrans
):
    write_mr_series(tmp_path / "dicom")
    images, (row,) = translate(trained, tmp_path / "dicom", tmp_path / "out")
    (converted,) = (tmp_path / "out/converted").rglob("*.nii.gz")
    image = images[row["case"]]
    assert image.shape == nib.load(converted).shape == (18, 20, 12)
    np.testing.assert_allclose(image.affine, nib.load(converted).affine, atol=1e-5)
    np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine), (2.5, 2.5, 3.0), rtol=1e-5)
    assert "Doe" not in row["case"]
    # and a cohort that `medtrans convert` wrote gives the same
    assert run_medtrans("convert", tmp_path / "dicom", tmp_path / "cohort")[0] == 0
    again, _ = translate(trained, tmp_path / "cohort", tmp_path / "from-cohort")
    np.testing.assert_array_equal(again[row["case"]].get_fdata(), image.get_fdata())


def test_batch_size_and_overlap_change_the_result_only_within_tolerance(trained, translate, tmp_path):
    shape, affine = GRIDS["larger than the window"]
    scan = write(tmp_path / "scan.nii", shape, affine)
    results = {
        (batch, overlap): translate(trained, scan, tmp_path / f"{batch}-{overlap}", batch_size=batch, overlap=overlap)[
            0
        ]["scan"].get_fdata()
        for batch, overlap in [(8, 0.25), (1, 0.25), (5, 0.25), (8, 0.5)]
    }
    usual = results[8, 0.25]
    for batch in (1, 5):  # the order of floating-point sums only
        assert np.abs(results[batch, 0.25] - usual).max() < 1e-4 * WINDOW
    # instance norm: a window that lies elsewhere sees other statistics, so that overlap matters a little
    assert 0 < np.abs(results[8, 0.5] - usual).mean() < 0.02 * WINDOW


def test_a_finished_case_is_kept_until_the_model_the_settings_or_the_scan_change(trained, translate, tmp_path):
    shape, affine = GRIDS["larger than the window"]
    scan, output = write(tmp_path / "scan.nii", shape, affine), tmp_path / "out"
    models = shutil.copytree(trained, tmp_path / "models")

    def status(**overrides):
        (row,) = translate(models, scan, output, **overrides)[1]
        return row["status"]

    assert [status(), status(), status(batch_size=3)] == ["ok", "kept", "kept"]
    assert [status(overwrite=True), status(overlap=0.5), status(overlap=0.5)] == ["ok", "ok", "kept"]
    state = torch.load(models / "model.pt", weights_only=True)
    torch.save({name: value * 1.01 for name, value in state.items()}, models / "model.pt")
    assert [status(), status()] == ["ok", "kept"]
    write(scan, shape, affine, seed=3)
    assert [status(), status()] == ["ok", "kept"]
    (output / "scan_T2_synthetic.nii.gz").unlink()
    assert status() == "ok"


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_cases_that_are_left(trained, translate, tmp_path, root):
    shape, affine = GRIDS["larger than the window"]
    for number in range(12):
        write(tmp_path / f"scans/scan{number:02d}.nii", shape, affine, seed=number / 6)
    expected, _ = translate(trained, tmp_path / "scans", tmp_path / "straight")
    command = [sys.executable, "-m", "medtrans.cli", "translate", str(root / "bundles/medgan")]
    command += [str(tmp_path / "scans"), str(tmp_path / "out"), "--set", f"ckpt_dir={trained}"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*.nii.gz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / "out/.partial-0badc0de-scan11_T2_synthetic.nii.gz").write_bytes(b"left by a killed writer")
    with (tmp_path / "out/translated.csv").open() as file:
        finished = [row["case"] for row in csv.DictReader(file)]
    assert 2 <= len(finished) < 12
    images, rows = translate(trained, tmp_path / "scans", tmp_path / "out")
    assert {row["case"] for row in rows if row["status"] == "kept"} == set(finished)
    assert {row["case"] for row in rows if row["status"] == "ok"} == set(expected) - set(finished)
    for name, image in images.items():
        np.testing.assert_array_equal(image.get_fdata(), expected[name].get_fdata())
    assert not list((tmp_path / "out").rglob(".partial-*"))


def test_two_source_channels_come_from_sub_folders_from_files_and_from_a_data_set(
    tmp_path, make_dataset, train_bundle, translate
):
    dataset = make_dataset(tmp_path / "set", modalities=("T1", "PD", "T2"))
    models = train_bundle(tmp_path, dataset, source=["T1", "PD"])
    whole, _ = translate(models, dataset, tmp_path / "from-set")
    for case in ("x", "y"):
        (tmp_path / "cases" / case).mkdir(parents=True)
        for modality in ("T1", "PD"):
            shutil.copy(dataset / "case3" / f"{modality}.nii", tmp_path / "cases" / case)
    folders, _ = translate(models, tmp_path / "cases", tmp_path / "from-folders")
    assert set(folders) == {"x", "y"}
    files, _ = translate(models, f"{dataset}/case3/T1.nii,{dataset}/case3/PD.nii", tmp_path / "from-files")
    np.testing.assert_array_equal(files["T1"].get_fdata(), folders["x"].get_fdata())
    np.testing.assert_array_equal(files["T1"].affine, whole["case3"].affine)
    swapped, _ = translate(models, f"{dataset}/case3/PD.nii,{dataset}/case3/T1.nii", tmp_path / "swapped")
    assert np.abs(swapped["PD"].get_fdata() - files["T1"].get_fdata()).max() > 1


def test_inference_follows_the_axis_of_the_training(tmp_path, tiny_dataset, train_bundle, translate):
    models = train_bundle(tmp_path, tiny_dataset, axis="coronal")
    assert json.loads((models / "modalities.json").read_text())["settings"]["axis"] == "coronal"
    by_training, _ = translate(models, tiny_dataset, tmp_path / "out")
    coronal, _ = translate(models, tiny_dataset, tmp_path / "coronal", axis="coronal")
    axial, _ = translate(models, tiny_dataset, tmp_path / "axial", axis="axial")
    np.testing.assert_array_equal(by_training["case3"].get_fdata(), coronal["case3"].get_fdata())
    assert np.abs(by_training["case3"].get_fdata() - axial["case3"].get_fdata()).max() > 1


def test_patches_in_three_dimensions_are_trained_and_translated_by_a_sliding_window(
    tmp_path, make_dataset, train_bundle, translate
):
    dataset = make_dataset(tmp_path / "set", shape=(20, 18, 13))
    folder = tmp_path / "three"
    models = train_bundle(folder, dataset, "three_d.json", image_size=[16, 16, 16], patches=2)
    settings = json.loads((models / "modalities.json").read_text())["settings"]
    assert (settings["spatial_dims"], settings["image_size"]) == (3, [16, 16, 16])
    with (folder / "eval/losses.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2  # 2 volumes x 2 patches in batches of 2
    with (folder / "eval/validation.csv").open() as file:
        assert np.isfinite(float(next(csv.DictReader(file))["psnr"]))
    assert (folder / "eval/pictures/epoch_0001.png").is_file()
    shape, affine = GRIDS["oblique, anisotropic, flipped, odd"]
    images, _ = translate(models, write(tmp_path / "scan.nii.gz", shape, affine), tmp_path / "out")
    assert images["scan"].shape == shape
    np.testing.assert_allclose(images["scan"].affine, affine, atol=1e-5)
    assert np.isfinite(images["scan"].get_fdata()).all()
    assert images["scan"].get_fdata().std() > 1
    # neighbouring slices know of each other: a change in one slice reaches the next ones, unlike slice by slice
    changed = nib.load(dataset / "case3/T1.nii").get_fdata().astype(np.float32)
    first, _ = translate(models, dataset / "case3/T1.nii", tmp_path / "before")
    changed[:, :, 6] = gaussian_filter(changed[:, :, 6][::-1], 1)
    nib.save(nib.Nifti1Image(changed, np.diag([2.0, 2, 2, 1])), tmp_path / "T1.nii")
    second, _ = translate(models, tmp_path / "T1.nii", tmp_path / "after")
    assert np.abs(first["T1"].get_fdata() - second["T1"].get_fdata())[:, :, 7].max() > 0.1


# Not resource.getrusage: its peak is inherited from the process that started this one.
PEAK = """
import re, sys
from medtrans.engines import run_inference
run_inference(sys.argv[1], sys.argv[2], sys.argv[3], (), {"ckpt_dir": sys.argv[4], "batch_size": 4, "threads": 1})
print("peak", 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_grows_with_the_volume_and_not_with_the_activations(
    tmp_path, tiny_dataset, write_models, run_command, root
):
    models = write_models(tmp_path / "models", tiny_dataset, image_size=(96, 96), channels=(48, 48))
    peaks, sizes = [], []
    for depth in (300, 1200):
        scan = write(tmp_path / f"{depth}.nii", (96, 96, depth), np.diag([2.0, 2.0, 2.0, 1.0]))
        said = run_command(
            sys.executable, "-c", PEAK, str(root / "bundles/medgan"), str(scan), str(tmp_path / f"{depth}"), str(models)
        )
        peaks.append(float(said.stdout.split("peak")[1]))
        sizes.append(96 * 96 * depth * 4)
    copies = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    # Read, body mask, window, output, restored: 7 float32 copies of the volume were measured, 10 are allowed. The
    # network's activations, were they kept for all slices, would be 48 channels at a quarter of the pixels, several
    # times: more than 36 copies.
    assert copies < 10, f"{copies:.1f} copies of the volume"


@pytest.mark.slow
def test_the_evaluation_workflow_translates_and_judges_as_the_commands_do(
    trained, tiny_dataset, tmp_path, bundle_command, run_command, run_medtrans, root
):
    config = root / "bundles/medgan/configs/evaluate.json"
    options = {"ckpt_dir": trained, "output_dir": tmp_path / "report", "metrics": "['psnr','mae','nmi']"}
    said = run_command(*bundle_command("evaluating", config, tiny=False, **options))  # on the data set it trained on
    assert "report.html" in said.stdout
    assert (tmp_path / "report/report.html").is_file()
    synthetic = tmp_path / "report/synthetic"
    code, _ = run_medtrans(
        "evaluate", synthetic, tiny_dataset, "--target", "T2", "--source", "T1", "--metrics", "psnr,mae,nmi",
        "--output", tmp_path / "again",
    )  # fmt: skip
    assert code == 0
    assert (tmp_path / "again/metrics.csv").read_text() == (tmp_path / "report/metrics.csv").read_text()
    with (tmp_path / "report/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"case3"}
    row = next(r for r in rows if (r["level"], r["region"], r["image"]) == ("volume", "whole", "synthetic"))
    pair = (nib.load(path).get_fdata() for path in (next(synthetic.glob("*.nii.gz")), tiny_dataset / "case3/T2.nii"))
    assert float(row["mae"]) == pytest.approx(np.abs(np.subtract(*pair)).mean(), rel=1e-4)
