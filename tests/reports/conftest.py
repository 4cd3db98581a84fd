"""A small study on disk: real volumes, synthetic ones, sources and masks, as folders and as a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medtrans.cohorts import Case, Cases
from medtrans.transforms import Window

SHAPE = (44, 46, 42)
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
CASES = ("head-1", "head-12", "head-2")


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)
    return path


class Study:
    """CT in HU made from MR, three cases; the second is predicted worst, the third best."""

    window = Window(-1000.0, 1500.0, "HU")
    mr_window = Window(0.0, 400.0, "")
    shape, affine, names, save = SHAPE, AFFINE, CASES, staticmethod(save)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.predictions, self.references, self.sources, self.masks = (
            root / name for name in ("predictions", "references", "sources", "masks")
        )
        grid = np.meshgrid(*[np.linspace(-1, 1, length) for length in SHAPE], indexing="ij")
        mask = sum(axis**2 for axis in grid) < 0.8
        for number, (case, error) in enumerate(zip(CASES, (120.0, 250.0, 40.0), strict=True)):
            generator = np.random.default_rng(number)
            tissue = gaussian_filter(generator.normal(size=SHAPE), 2) * 8
            ct = np.where(mask, np.clip(tissue * 200 + 100, -1000, 3000), -1000)
            synthetic = ct + np.where(mask, gaussian_filter(generator.normal(size=SHAPE), 1) * 5 * error, 0)
            save(self.references / f"{case}.nii.gz", ct)
            save(self.predictions / f"{case}_CT_synthetic.nii.gz", synthetic)
            save(self.sources / f"{case}_MR.nii", np.where(mask, 200 - 40 * tissue, 0))
            save(self.masks / f"{case}_mask.nii.gz", mask)

    def cases(self) -> Cases:
        members = [
            Case(
                case,
                f"subject-{case}",
                "test",
                {"MR": self.sources / f"{case}_MR.nii", "CT": self.references / f"{case}.nii.gz"},
                {"MR": self.mr_window, "CT": self.window},
                mask=self.masks / f"{case}_mask.nii.gz",
                spacing=(2.0, 2.0, 3.0),
                shape=SHAPE,
            )
            for case in CASES
        ]
        return Cases(self.root, tuple(members))

    def change(self, path: Path, how: Callable[[np.ndarray], np.ndarray], affine: np.ndarray = AFFINE) -> None:
        save(path, how(np.asarray(nibabel.load(path).dataobj).copy()), affine)


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path)
