"""Plant faults in a data set of T1 and T2, to see what `medtrans check` says of them.

medtrans phantom PHANTOMS --subjects 12 --spacing 3
python benchmarks/plant_faults.py PHANTOMS
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import nibabel
import numpy as np
import typer

from medtrans.cohorts.nifti import write_nifti


def change(path: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write a volume again with other values."""
    image = nibabel.load(path)
    values = np.asarray(image.dataobj).copy()
    write_nifti(path, np.ascontiguousarray(how(values)).astype(values.dtype), image.affine)


def main(dataset: Annotated[Path, typer.Argument(help="A data set that you do not need any more.")]) -> None:
    """The first head is clipped, the second flipped, the third shifted; the last one becomes the first with noise."""
    heads = sorted(path.parent for path in dataset.glob("*/T2.nii"))
    first = {name: np.asarray(nibabel.load(heads[0] / f"{name}.nii").dataobj).copy() for name in ("T1", "T2", "mask")}
    change(heads[0] / "T1.nii", lambda values: np.minimum(values, np.percentile(values, 90)))
    change(heads[1] / "T2.nii", lambda values: np.flip(values, 0))
    change(heads[2] / "T2.nii", lambda values: np.roll(values, 3, axis=1))
    affine = nibabel.load(heads[-1] / "mask.nii").affine
    noise = np.random.default_rng(0).normal(size=first["T1"].shape)
    for name, values in first.items():
        strength = 0 if name == "mask" else 0.02 * values.max()
        noisy = (values + strength * noise).astype(values.dtype)
        write_nifti(heads[-1] / f"{name}.nii", noisy, affine)


if __name__ == "__main__":
    typer.run(main)
