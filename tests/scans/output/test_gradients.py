import subprocess

import dcm2niix
import nibabel as nib
import numpy as np
import pytest

from medtrans.scans import convert_export, read_series
from medtrans.scans.output.gradients import Gradients

DIRECTIONS = [(0, 0, 0), (1, 0, 0), (0, 0.6, 0.8), (-0.48, 0.6, 0.64), (0.5, -0.5, 0.70710678)]
B_VALUES = [0, 1000, 1000, 1000, 2000]


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def dwi(make_series, orientation, b_values=B_VALUES, directions=DIRECTIONS, **tags):
    series = make_series(shape=(6, 12, 16), orientation=orientation, spacing=(2, 2), ImageType=["ORIGINAL", "PRIMARY"],
                         Manufacturer="Philips Medical Systems", **tags)  # fmt: skip
    for t, (b, g) in enumerate(zip(b_values, directions, strict=True)):
        for k in range(6):
            series.write(
                k, f"{t}-{k}", pixels=series.pixels[k] + t, InstanceNumber=6 * t + k + 1, AcquisitionNumber=t + 1,
                DiffusionBValue=float(b), DiffusionGradientOrientation=list(g) if any(g) else None,
                DiffusionDirectionality="DIRECTIONAL" if any(g) else "NONE", TemporalPositionIdentifier=t + 1,
            )  # fmt: skip
    return series


def in_world(stem, image):
    """b-values and directions in RAS by what FSL says the files mean."""
    bval, bvec = (np.loadtxt(f"{stem}{suffix}") for suffix in (".bval", ".bvec"))
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    flip = np.diag([-1 if np.linalg.det(axes) > 0 else 1, 1, 1])
    return bval, (axes @ flip @ bvec).T


AXIAL, SAGITTAL, CORONAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, *(tuple(rotation(n)[:2].ravel()) for n in range(3))])
def test_directions_are_those_of_the_headers_and_of_dcm2niix(make_series, tmp_path, orientation):
    series = dwi(make_series, orientation)
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    path = tmp_path / "out" / row.path
    b_values, directions = in_world(str(path).removesuffix(".nii.gz"), nib.load(path))
    np.testing.assert_allclose(b_values, B_VALUES)
    np.testing.assert_allclose(directions, np.array(DIRECTIONS) * [-1, -1, 1], atol=1e-6)
    command = [dcm2niix.bin, "-z", "n", "-f", "x", "-o", tmp_path, series.folder]
    subprocess.run(command, check=True, capture_output=True)
    b_values, theirs = in_world(tmp_path / "x", nib.load(tmp_path / "x.nii"))
    np.testing.assert_allclose(b_values, B_VALUES)
    np.testing.assert_allclose(directions, theirs, atol=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_directions_turn_with_the_image(seed):
    turn = rotation(seed)
    gradients = Gradients(np.array([1000.0]), np.array([[0.36, 0.48, 0.8]]))
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.5, 2, 3]
    turned = np.eye(4)
    turned[:3, :3] = np.diag([1.5, 2, 3])
    own = Gradients(gradients.b_values, gradients.directions @ turn)
    np.testing.assert_allclose(gradients.along(affine), own.along(turned), atol=1e-12)
    np.testing.assert_allclose(gradients.along(np.diag([-1, 1, 1, 1])), [[-0.36, 0.48, 0.8]])
    np.testing.assert_allclose(gradients.along(np.eye(4)), [[-0.36, 0.48, 0.8]])


@pytest.mark.parametrize("kind", ["trace", "GE", "no weighting"])
def test_what_is_not_all_known_has_no_files(make_series, tmp_path, kind):
    directions = [DIRECTIONS[0], *DIRECTIONS[2:]] if kind != "trace" else [(0, 0, 0)] * 4
    b_values = [0] * 4 if kind == "no weighting" else [0, 500, 1000, 1500]
    series = dwi(make_series, AXIAL, b_values, directions)
    if kind == "GE":
        for n, path in enumerate(sorted(series.folder.iterdir())):
            path.unlink()
            series.write(n % 6, path.name, Manufacturer="GE MEDICAL SYSTEMS", AcquisitionNumber=n // 6,
                         pixels=series.pixels[n % 6] + n // 6, DiffusionBValue=float(b_values[n // 6]),
                         DiffusionGradientOrientation=list(directions[n // 6]), InstanceNumber=n)  # fmt: skip
    [volume] = read_series(series.folder)
    assert volume.array.shape[3] == 4
    assert volume.gradients is None
    convert_export(series.folder, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.bv*"))


def test_harmed_weightings_are_written_again(make_series, tmp_path):
    series = dwi(make_series, AXIAL)
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    path = (tmp_path / "out" / row.path).with_name(f"{row.series}.bvec")
    text = path.read_text()
    path.write_text(text.replace("0.6", "0.5"))
    [again] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert "kept" not in again.reason
    assert path.read_text() == text
