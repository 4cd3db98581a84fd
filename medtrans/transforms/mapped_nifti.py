"""A NIfTI volume opened as a memory map: slices are read without loading the volume."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np

from medtrans.errors import InputError

AXES = {"sagittal": 0, "coronal": 1, "axial": 2}


def axis_number(axis: str | int) -> int:
    """0, 1 or 2 for ``"sagittal"``, ``"coronal"``, ``"axial"`` (or the number itself).

    Raises:
        InputError: ``axis`` is neither a name nor 0, 1 or 2.
    """
    number = AXES.get(axis, -1) if isinstance(axis, str) else int(axis)
    if number not in AXES.values():
        raise InputError(f"axis {axis!r}", "does not exist", f"Choose one of {', '.join(AXES)} (or 0, 1, 2)")
    return number


@dataclass(frozen=True)
class MappedNifti:
    """One volume on disk; open it with :meth:`open`, which remembers headers.

    Args:
        path: ``.nii`` (memory map) or ``.nii.gz`` (works, but every read decompresses up to the slice).
        shape: voxels along the three axes; two-dimensional files count as one axial slice.
        affine: voxel index -> millimetres in RAS, as nibabel gives it.
        dtype: as stored.
        offset: bytes before the first voxel.
        slope, intercept: stored value -> physical value.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MappedNifti:
        """Read the header, or take it from memory if the file has not changed since.

        Raises:
            InputError: there is no such file, it is not NIfTI, or it is not one real-valued volume.
        """
        path = Path(path)
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(path, f"cannot be read ({error.strerror})", "Check the path") from error
        return _header(path, status.st_mtime_ns, status.st_size)

    @property
    def mapped(self) -> bool:
        """Whether slices come from a memory map (the file is not compressed)."""
        return self.path.suffix == ".nii"

    def plane(self, axis: int, index: int) -> np.ndarray:
        """The slice ``index`` across ``axis`` in physical units, float32, the two other axes in their order.

        Raises:
            InputError: the slice does not exist, is cut off or holds values that are not finite.
        """
        if not 0 <= index < self.shape[axis]:
            raise InputError(self.path, f"has no slice {index} along axis {axis} ({self.shape})", "Prepare it again")
        chosen = tuple(index if i == axis else slice(None) for i in range(3))
        return self._read(chosen, f"in slice {index} along axis {axis}")

    def volume(self, order: Literal["C", "F"] = "C") -> np.ndarray:
        """The whole volume ``(X, Y, Z)`` in physical units, float32; memory order F is that of the file, and faster.

        Raises:
            InputError: the file is cut off or holds values that are not finite.
        """
        return self._read((slice(None),) * 3, "in the volume", order)

    def _read(self, chosen: tuple[int | slice, ...], where: str, order: Literal["C", "F"] = "C") -> np.ndarray:
        """A float32 copy of the chosen voxels in physical units."""
        try:
            if self.mapped:
                stored = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order="F")[chosen]
                plain = self.slope == 1.0 and self.intercept == 0.0
                physical = stored if plain else stored * self.slope + self.intercept
            else:  # the proxy decompresses no further than it must, and scales
                proxy = nibabel.load(self.path).dataobj
                physical = proxy[chosen] if proxy.ndim == 3 else np.reshape(np.asarray(proxy), self.shape)[chosen]
            values = np.array(physical, dtype=np.float32, order=order)
        except (OSError, ValueError, EOFError, zlib.error) as error:
            raise InputError(self.path, f"is damaged or cut off ({error})", "Copy or convert it again") from error
        if not np.isfinite(values).all():
            problem = f"holds values that are not finite {where}"
            raise InputError(self.path, problem, "Replace NaN and Inf, or prepare it again")
        return values


@lru_cache(maxsize=16384)
def _header(path: Path, modified: int, size: int) -> MappedNifti:
    """The header of ``path`` as it was when last ``modified``."""
    try:
        image = nibabel.load(path)
    except Exception as error:
        raise InputError(
            path, f"is not a readable NIfTI volume ({error})", "Convert it with `medtrans convert`"
        ) from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise InputError(path, f"is not NIfTI ({type(image).__name__})", "Convert it with `medtrans convert`")
    shape = (*image.shape, 1, 1)[: max(3, len(image.shape))]
    dtype = image.dataobj.dtype
    if any(length != 1 for length in shape[3:]) or dtype.kind not in "iufb":
        problem = f"is not one real-valued volume (shape {image.shape}, {dtype})"
        raise InputError(path, problem, "Give one volume, without time points, colours or phases")
    if 0 in shape:
        raise InputError(path, f"is empty (shape {image.shape})", "Convert it again")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(path, "has no usable geometry in its header (sform and qform)", "Convert it again")
    proxy = image.dataobj
    return MappedNifti(
        path, (shape[0], shape[1], shape[2]), affine, dtype, proxy.offset, float(proxy.slope), float(proxy.inter)
    )
