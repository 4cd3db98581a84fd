"""A volume and where it lies: values on the scanner's own planes, and the affine that maps voxels to millimetres."""

from __future__ import annotations

import itertools
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medtrans.errors import InputError

BY_ITK = (".mha", ".mhd", ".nrrd")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Volume:
    """Values and geometry.

    Args:
        values: ``(X, Y, Z)`` float32, in physical units.
        affine: 4x4, voxel indices -> RAS millimetres; oblique and sheared ones are kept as they are.
    """

    values: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Millimetres a step along each of the three axes."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def corners(self) -> np.ndarray:
        """``(8, 3)`` RAS positions of the outer corners of the corner voxels."""
        return world_corners(self.values.shape, self.affine)


def world_corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """``(8, 3)`` RAS positions of the outer corners of a grid (half a voxel beyond the corner centres)."""
    ends = np.array(list(itertools.product(*((-0.5, size - 0.5) for size in shape))))
    return moved(ends, affine)


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``(N, 3)`` points sent through a 4x4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def read_volume(path: str | os.PathLike[str], replace_not_finite: float | None = None) -> Volume:
    """Read a NIfTI, MetaImage or NRRD volume; of NIfTI, the sform is believed before the qform, a difference logged.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.mha``, ``.mhd`` or ``.nrrd`` with three spatial axes (a fourth of length 1 is
            dropped).
        replace_not_finite: value for NaN and infinite voxels; None refuses them.

    Raises:
        InputError: the file is unreadable, not a single real-valued 3D volume, constant, not finite, or its affine
            is singular.
    """
    if str(path).lower().endswith(BY_ITK):
        return _by_itk(path, replace_not_finite)
    try:
        image = cast(nibabel.spatialimages.SpatialImage, nibabel.load(path))
        stored = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise InputError(
            path, f"cannot be read as NIfTI ({error})", "Convert it again with `medtrans convert`"
        ) from error
    if stored.dtype.fields is not None or np.iscomplexobj(stored):
        raise InputError(path, "holds colours or complex numbers", "Give the volume of one real-valued quantity")
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim != 3:
        raise InputError(path, f"has the shape {stored.shape}, not three axes", "Split it into single 3D volumes")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(path, "has an affine that is not invertible", "Convert it again with `medtrans convert`")
    _warn_of_doubtful_geometry(path, image)
    return Volume(_finite(path, np.asarray(stored, dtype=np.float32), replace_not_finite), affine)


def _by_itk(path: str | os.PathLike[str], replace_not_finite: float | None) -> Volume:
    """A volume in one of ITK's own formats, its axes turned to right, front and head."""
    from medtrans.scans.formats.imagefiles import read_itk  # brings SimpleITK

    try:
        found = read_itk(Path(path))
    except InputError as error:
        raise InputError(path, error.problem, error.remedy) from error
    if found.array.ndim != 3:
        raise InputError(path, f"has the shape {found.array.shape}, not three axes", "Split it into single 3D volumes")
    return Volume(_finite(path, np.asarray(found.array, dtype=np.float32), replace_not_finite), found.affine)


def _finite(path: str | os.PathLike[str], values: np.ndarray, replacement: float | None) -> np.ndarray:
    """``values`` with every voxel finite, refused when there is nothing to see in them."""
    bad = ~np.isfinite(values)
    if bad.any() and (replacement is None or bad.all()):
        raise InputError(
            path,
            f"has NaN or infinite values in {100 * bad.mean():.3g} % of its voxels",
            'Repair it, or set "not_finite": "background" for this modality in the recipe',
        )
    if bad.any():
        values = np.where(bad, np.float32(replacement), values)
    if values.min() == values.max():
        raise InputError(path, f"is constant (every voxel is {values.min():g})", "Leave it out or convert it again")
    return values


def _warn_of_doubtful_geometry(path: str | os.PathLike[str], image: nibabel.spatialimages.SpatialImage) -> None:
    """Say when the header does not tell, or tells twice, where the volume lies."""
    header = image.header
    if not isinstance(header, nibabel.Nifti1Header):
        return
    sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    if not sform[1] and not qform[1]:
        logger.warning("%s: the header states no position or orientation; axes are taken as RAS", path)
    elif sform[1] and qform[1] and qform[0] is not None and sform[0] is not None:
        apart = np.linalg.norm(
            world_corners(image.shape[:3], sform[0]) - world_corners(image.shape[:3], qform[0]), axis=1
        ).max()
        if apart > 0.5:
            logger.warning("%s: sform and qform are up to %.1f mm apart; the sform is used", path, apart)
