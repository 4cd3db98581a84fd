"""Analyze 7.5 images: their header does not say which side of the patient is left, so the user must."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.datafiles import data_files


def analyze_image(path: Path, side: str) -> nib.Spm99AnalyzeImage:
    """The image, its voxels not yet read; ``get_best_affine`` of its header leads to RAS mm.

    Scale (funused1) and origin are taken as SPM99 wrote them, where they are there; without an origin, the middle of
    the field of view is 0.

    Args:
        path: the .hdr file.
        side: ``radiological`` (the first voxel of a row is the patient's right) or ``neurological`` (his left).

    Raises:
        InputError: the user has not said which, or a file is missing or damaged.
    """
    if side == "refuse":
        raise InputError(
            "image file",
            "Analyze 7.5 header: it does not say which side is left, and programs disagree",
            "Convert the original; or, where you know, choose --analyze radiological or neurological",
        )
    if path.with_suffix(".mat").exists():
        problem, remedy = "an SPM .mat file beside it says that it lies elsewhere", "Save it as NIfTI with SPM"
        raise InputError("image file", problem, remedy)
    (data,) = data_files(path, "analyze")
    try:
        holders = {"header": nib.FileHolder(filename=str(path)), "image": nib.FileHolder(filename=str(data))}
        holders["mat"] = nib.FileHolder(fileobj=BytesIO())
        image = nib.Spm99AnalyzeImage.from_file_map(holders)
        if image.get_data_dtype().fields is not None or image.get_data_dtype().kind == "c":
            raise InputError("image file", "its voxels are colours or complex numbers", "Split them into real values")
    except InputError:
        raise
    except Exception as error:  # nibabel and numpy raise many kinds on damaged files
        problem = f"the Analyze files are damaged ({type(error).__name__})"
        raise InputError("image file", problem, "Copy them again") from error
    return image


def affine_of(image: nib.Spm99AnalyzeImage, side: str) -> np.ndarray:
    """Voxel index to RAS mm, 4x4: along the axes, x by ``side``."""
    header = image.header
    header.default_x_flip = side == "radiological"
    return np.array(header.get_best_affine(), float)
