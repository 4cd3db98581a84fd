"""Cohorts of coarse heads, a place to plant one fault in a copy of them, and the doctor's view of the copy."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from medtrans.cohorts import write_phantom_cohort
from medtrans.cohorts.doctor import examine
from medtrans.cohorts.doctor.checks import available
from medtrans.cohorts.nifti import write_nifti


@pytest.fixture(scope="session")
def heads(tmp_path_factory):
    """Nine heads in T1 and T2 at 6 mm."""
    return write_phantom_cohort(tmp_path_factory.mktemp("heads") / "set", 9, ["T1", "T2"], 6.0, seed=7).root


@pytest.fixture(scope="session")
def pet_ct_heads(tmp_path_factory):
    """Three heads in PET and CT at 8 mm."""
    return write_phantom_cohort(tmp_path_factory.mktemp("petct") / "set", 3, ["PET", "CT"], 8.0, seed=3).root


def _moved(values, degrees=0.0, shift_mm=(0, 0, 0), spacing=6.0, outside=0.0):
    """The volume turned about the vertical axis through its middle and shifted."""
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    middle = (np.array(values.shape) - 1) / 2
    offset = middle - turn @ middle - turn @ (np.array(shift_mm) / spacing)
    return ndimage.affine_transform(values, turn, offset, order=1, cval=outside).astype(values.dtype)


@pytest.fixture(scope="session")
def moved():
    return _moved


@dataclass
class Copy:
    """A copy of a cohort in which faults are planted."""

    folder: Path

    def path(self, case, part):
        return self.folder / f"head-{case:04d}" / f"{part}.nii"

    def read(self, case, part):
        return np.asarray(nibabel.load(self.path(case, part)).dataobj).copy()

    def affine(self, case, part="T1"):
        return nibabel.load(self.path(case, part)).affine

    def write(self, case, part, values, affine=None):
        """Values, on the file's own grid unless told otherwise."""
        affine = self.affine(case, part) if affine is None else affine
        write_nifti(self.path(case, part), np.ascontiguousarray(values), affine)

    def table(self, **columns):
        """Edit cases.csv: ``column={row number: value}``."""
        frame = pd.read_csv(self.folder / "cases.csv", dtype=str, keep_default_na=False)
        for column, values in columns.items():
            for row, value in values.items():
                frame.loc[row, column] = value
        frame.to_csv(self.folder / "cases.csv", index=False)

    def found(self, *checks, **limits):
        """What the named checks find, the most severe first."""
        settings = dict.fromkeys(set(available()) - set(checks), False)
        settings |= {key.replace("__", "#"): value for key, value in limits.items()}
        return examine(self.folder, settings=settings, workers=1, pictures=0).findings


@pytest.fixture
def planted(heads, tmp_path):
    """A copy of the nine heads."""
    shutil.copytree(heads, tmp_path / "set")
    return Copy(tmp_path / "set")


@pytest.fixture
def planted_pet_ct(pet_ct_heads, tmp_path):
    """A copy of the three PET/CT heads."""
    shutil.copytree(pet_ct_heads, tmp_path / "set")
    return Copy(tmp_path / "set")


@pytest.fixture
def said():
    """``said(findings)``: {(case number or "", modality, what)} of errors and warnings."""

    def told(findings, severities=("error", "warning")):
        number = {f.case: int(f.case.removeprefix("head-")) if f.case.startswith("head-") else f.case for f in findings}
        return {(number[f.case], f.modality, f.what) for f in findings if f.severity in severities}

    return told
