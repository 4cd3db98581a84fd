"""Write a volume as NIfTI the way every data set holds them: uncompressed, sform = qform, code 1, millimetres."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np

from medtrans.files import written_whole


def write_nifti(path: str | os.PathLike[str], volume: np.ndarray, affine: np.ndarray) -> Path:
    """Write ``volume`` whole or not at all.

    Args:
        path: ends in ``.nii`` for a file that slices can be read from by memory map.
        volume: shape (X, Y, Z), stored in its own data type without scaling.
        affine: voxel indices to RAS world coordinates in mm, (4, 4), without shear.

    Raises:
        InputError: the folder cannot be written.
    """
    image = nibabel.Nifti1Image(volume, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units(xyz="mm")
    with written_whole(path) as temporary:
        nibabel.save(image, temporary)
    return Path(path)
