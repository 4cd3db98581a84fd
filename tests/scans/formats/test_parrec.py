"""Philips PAR/REC against dcm2niix; the PAR files are nibabel's own test data, the voxels are made here."""

import re
import shutil
import subprocess
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import Conversion, convert_export, read_series

HEADERS = Path(nib.__file__).parent / "tests" / "data"
pytestmark = pytest.mark.skipif(not HEADERS.is_dir(), reason="nibabel was installed without its test data")
ORIENTED = [
    "Phantom_EPI_3mm_tra_SENSE_6_1", "Phantom_EPI_3mm_sag_15AP_SENSE_13_1", "T1",
    "Phantom_EPI_3mm_cor_20APtrans_15RLrot_SENSE_15_1", "Phantom_EPI_3mm_tra_-30AP_10RL_20FH_SENSE_14_1",
]  # fmt: skip


def par(folder, name):
    """The PAR file with a REC file of noise; folder."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(HEADERS / f"{name}.PAR", folder / "x.PAR")
    with open(folder / "x.PAR") as file:
        header = nib.parrec.PARRECHeader.from_fileobj(file, permit_truncated=True)
    shape = (*header.get_rec_shape(),)
    noise = np.random.default_rng(0).integers(0, 4000, shape).astype("<u2")
    (folder / "x.REC").write_bytes(noise.tobytes(order="F"))
    return folder


def by_dcm2niix(folder, out, *options):
    command = [dcm2niix.bin, "-z", "n", "-f", "x_%s", *options, "-o", out, folder / "x.PAR"]
    subprocess.run(command, capture_output=True, check=False)
    return [nib.as_closest_canonical(nib.load(path)) for path in sorted(out.glob("*.nii"))]


@pytest.mark.parametrize("name", ORIENTED)
def test_place_and_values_equal_dcm2niix(tmp_path, name):
    volumes = read_series(par(tmp_path / "in", name), Conversion(philips_scale="precise"))
    (tmp_path / "out").mkdir()
    [reference] = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    [volume] = volumes
    assert volume.array.shape == reference.shape
    np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-2)  # PAR files round to 0.01 mm
    np.testing.assert_allclose(volume.array, reference.get_fdata(), rtol=1e-4, atol=1e-3)


def test_scale_is_that_of_the_console_unless_the_other_is_asked_for(tmp_path):
    folder = par(tmp_path / "in", "phantom_EPI_asc_CLEAR_2_1")
    [shown], [precise] = read_series(folder), read_series(folder, Conversion(philips_scale="precise"))
    stored = np.fromfile(folder / "x.REC", "<u2")
    assert shown.array.max() == pytest.approx(stored.max() * 1.29035, rel=1e-6)
    assert precise.array.max() == pytest.approx(stored.max() * 1.29035 / (1.29035 * 4.28404e-3), rel=1e-5)
    assert shown.metadata["rescale"] == "Philips PAR/REC, display values"


def test_one_file_of_several_contrasts_is_several_volumes(tmp_path):
    folder = par(tmp_path / "in", "T1_3echo_mag_real_imag_phase")
    table = convert_export(folder, tmp_path / "out")
    assert list(table.status) == ["converted"] * 12
    assert table.files.sum() == 2
    labels = {re.search(r"\[(.*)\]", text)[1] for text in table.description}
    kinds = ("magnitude", "real", "imaginary", "phase")
    assert labels == {f"echo {echo}, {kind}" for echo in (1, 2, 3) for kind in kinds}
    whole = nib.parrec.load(folder / "x.PAR", strict_sort=True)
    order = whole.header.get_volume_labels()
    place = int(np.flatnonzero((order["echo number"] == 2) & (order["image_type_mr"] == 3))[0])
    one = whole.slicer[..., place] if hasattr(whole, "slicer") else whole
    reference = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(one.dataobj), whole.affine))
    [row] = table[table.description.str.contains("echo 2, phase")].itertuples()
    image = nib.load(tmp_path / "out" / row.path)
    np.testing.assert_allclose(image.affine, reference.affine, atol=1e-4)
    np.testing.assert_allclose(image.get_fdata(), reference.get_fdata(), rtol=1e-5, atol=1e-3)


def diffusion(folder, trace):
    """The diffusion PAR file with or without its trace volume."""
    par(folder, "DTI")
    lines = (folder / "x.PAR").read_text().splitlines(keepends=True)
    images = [line for line in lines if re.match(r"\s*\d+\s+\d+\s+\d+\s", line)]
    weighted = [line.split() for line in images]
    kept = [
        line for line, words in zip(images, weighted, strict=True)
        if trace or float(words[33]) == 0 or any(float(word) for word in words[45:48])
    ]  # fmt: skip
    (folder / "x.PAR").write_text("".join([line for line in lines if line not in images] + kept))
    return folder


def test_diffusion_weightings_are_those_of_dcm2niix(tmp_path):
    folder, out = diffusion(tmp_path / "in", trace=False), tmp_path / "theirs"
    out.mkdir()
    [row] = convert_export(folder, tmp_path / "out").itertuples()
    path = tmp_path / "out" / row.path
    by_dcm2niix(folder, out)
    worlds = []
    for image, stem in ((path, str(path).removesuffix(".nii.gz")), (*out.glob("*.nii"), str(*out.glob("*.bval"))[:-5])):
        affine = nib.load(image).affine
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        bvec = np.loadtxt(f"{stem}.bvec")
        bvec[0] *= -1 if np.linalg.det(axes) > 0 else 1
        worlds.append(np.vstack([np.loadtxt(f"{stem}.bval"), axes @ bvec]))
    assert worlds[0].shape == (4, 7)
    assert convert_export(folder, tmp_path / "bids", layout="bids").path[0].endswith("/dwi/sub-001_ses-01_dwi.nii.gz")
    np.testing.assert_allclose(worlds[0], worlds[1], atol=2e-3)


def test_a_trace_volume_leaves_directions_unsaid(tmp_path):
    [volume] = read_series(diffusion(tmp_path / "in", trace=True))
    assert volume.gradients is None
    assert volume.metadata["b_values"] == [0, *[1000] * 7]


def test_dry_run_knows_them_too(tmp_path):
    folder = par(tmp_path / "in", "T1_3echo_mag_real_imag_phase")
    foreseen, done = (convert_export(folder, tmp_path / "out", dry_run=dry) for dry in (True, False))
    assert {*foreseen.status} == {"to convert"}
    columns = ["series", "description", "files", "slices", "shape", "spacing", "path"]
    assert foreseen[columns].to_numpy().tolist() == done[columns].to_numpy().tolist()


def test_patient_and_dates_stay_out(tmp_path):
    folder = par(tmp_path / "in", "phantom_EPI_asc_CLEAR_2_1")
    convert_export(folder, tmp_path / "out")
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    assert "Konvertertest" not in text
    assert "2014" not in text


@pytest.mark.parametrize("harm", ["short REC", "no REC", "short PAR"])
def test_harmed_files_fail_with_one_line(tmp_path, harm):
    folder = par(tmp_path / "in", "phantom_EPI_asc_CLEAR_2_1")
    if harm == "short REC":
        (folder / "x.REC").write_bytes((folder / "x.REC").read_bytes()[:-100])
    elif harm == "no REC":
        (folder / "x.REC").unlink()
    else:
        text = (folder / "x.PAR").read_text()
        (folder / "x.PAR").write_text(text[: len(text) // 2])
    [row] = convert_export(folder, tmp_path / "out").itertuples()
    assert row.status == "failed"
    assert row.files == len(list(folder.iterdir()))
    with pytest.raises(InputError, match=r"damaged|missing"):
        read_series(folder)
