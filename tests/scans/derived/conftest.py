"""Judges of derived series that are not ours: dciodvfy, the standard's tables as highdicom has them, dcm2niix."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import dcm2niix
import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from medtrans.scans.derived.provenance import Algorithm
from medtrans.scans.derived.series import Synthetic, write_series
from medtrans.scans.derived.sources import source_series
from medtrans.scans.export.finding import found_scans

MADE_BY = Algorithm("MedGAN", "0.1.0", "ab" * 32)
IOD = {"CT": "ct-image", "MR": "mr-image", "PT": "positron-emission-tomography-image"}
STANDARD = Path(highdicom.__file__).parent / "_standard"
MODULES = json.loads((STANDARD / "iod_module_map.json").read_text())
ATTRIBUTES = json.loads((STANDARD / "module_attribute_map.json").read_text())


def _violations(path):
    """What PS3.3 misses at the root of an image: type 1 absent or empty, type 2 absent, of the mandatory modules."""
    image, found = pydicom.dcmread(path), []
    for module in MODULES[IOD[image.Modality]]:
        for attribute in ATTRIBUTES[module["key"]] if module["usage"] == "M" else ():
            keyword = attribute["keyword"]
            if attribute["path"] or attribute["type"] not in ("1", "2"):
                continue
            if keyword not in image:
                found.append(f"{keyword} is missing")
            elif attribute["type"] == "1" and image[keyword].is_empty:
                found.append(f"{keyword} is empty")
    return found


def _faults(path):
    """The errors that dciodvfy finds."""
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace").stderr
    assert "Image" in told  # it recognised the object
    return [line for line in told.splitlines() if line.startswith("Error")]


@pytest.fixture
def check_conforms():
    """``check_conforms(files)``: every image has what the standard asks for, and dciodvfy, if here, finds no error."""

    def check(files):
        for path in {files[0], files[len(files) // 2], files[-1]}:
            assert _violations(path) == []
            if shutil.which("dciodvfy"):
                assert _faults(path) == []

    return check


@pytest.fixture
def check_voxels(tmp_path):
    """``check_voxels(folder, array, affine, within)``: dcm2niix reads these values at these places."""

    def check(folder, array, affine, within):
        out = tmp_path / f"{folder.name} by dcm2niix"
        out.mkdir()
        subprocess.run([dcm2niix.bin, "-z", "n", "-b", "n", "-f", "%s", "-o", out, folder], capture_output=True)
        (path,) = out.glob("*.nii")
        image = nib.load(path)
        values = image.get_fdata().reshape(image.shape + (1,) * (3 - image.ndim))
        turn = nib.orientations.io_orientation(np.linalg.inv(image.affine) @ affine)
        ours = nib.orientations.apply_orientation(array, turn)
        np.testing.assert_allclose(affine @ nib.orientations.inv_ornt_aff(turn, array.shape), image.affine, atol=1e-3)
        assert ours.shape == values.shape
        assert np.abs(ours - values).max() <= within + 1e-6 * np.abs(array).max()  # both are float32

    return check


@pytest.fixture
def derive(tmp_path):
    """``derive(export, array, affine, modality, unit, …)``: the files of a derived series like the only one there."""

    def make(export, array, affine, modality="CT", unit="HU", writing=None, name="derived"):
        with found_scans(export) as files:
            (source,), _ = source_series(files)
            volume = Synthetic(np.asarray(array, np.float32), affine, modality, unit, MADE_BY, "volume.nii.gz")
            return write_series(volume, source, tmp_path / name, writing)

    return make
