"""A volume with its affine and what is known about it, and how it is written: NIfTI and a JSON sidecar."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from isal import igzip_threaded

from medtrans.files import file_hash, written_whole
from medtrans.scans.export.frames import Frame
from medtrans.scans.output.gradients import Gradients
from medtrans.scans.output.sidecar import sidecar
from medtrans.scans.output.storage import Storage, storage_of
from medtrans.scans.space.geometry import SHEARED, largest_distance


@dataclass
class Volume:
    """An image in physical units.

    Attributes:
        array: float32, (X, Y, Z) or (X, Y, Z, T), axes in RAS order.
        affine: voxel index to RAS mm, 4x4; its axes may be oblique, and sheared for a tilted gantry.
        metadata: what the sidecar says (see :mod:`~medtrans.scans.output.sidecar`): scanner, acquisition, unit, ...
            Free of patient data as far as the free text of SeriesDescription and ProtocolName is.
        frames: ``frames[t][k]``, the DICOM frames in stacking order; empty when the source is no DICOM.
        stack_affine: (column, row, plane, 1) of ``frames`` to RAS mm, to find a plane in ``array`` again.
        stored_scale: slope and intercept that made all values out of integers, None when there is no such pair.
        gradients: diffusion weightings of a 4D image, None when it has none or they are not all known.
    """

    array: np.ndarray
    affine: np.ndarray
    metadata: dict[str, Any]
    frames: list[list[Frame]] = field(default_factory=list, repr=False)
    stack_affine: np.ndarray | None = field(default=None, repr=False)
    stored_scale: tuple[float, float] | None = field(default=None, repr=False)
    gradients: Gradients | None = field(default=None, repr=False)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxels along each axis, mm."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(sizes[0]), float(sizes[1]), float(sizes[2])


def nifti_header(volume: Volume, storage: Storage) -> nib.Nifti1Header:
    """The header of the volume as NIfTI: sform = qform, code 1, mm.

    A qform cannot hold a shear, so for a sheared volume it stays unset (code 0): software then uses the sform or
    refuses, instead of reading a straight stack that is none.
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(storage.dtype)
    header.set_data_shape(volume.array.shape)
    header.set_slope_inter(storage.slope, storage.intercept)
    header.set_sform(volume.affine, code=1)
    header.set_qform(volume.affine, code=1)
    if largest_distance(header.get_qform(), volume.affine, volume.array.shape) > SHEARED:
        header.set_qform(None, code=0)
    header.set_xyzt_units("mm", "sec")
    if volume.array.ndim == 4:
        header["pixdim"][4] = volume.metadata.get("time_step_s") or 0.0
    header["vox_offset"] = header.single_vox_offset
    return header


def write_volume(volume: Volume, path: Path) -> dict[str, Any]:
    """Write ``path`` (.nii or .nii.gz), .bval and .bvec of diffusion, then the sidecar, which marks it complete.

    Returns:
        The sidecar; its ``sha256`` are of the files beside it, by suffix.

    Raises:
        InputError: the folder cannot be written.
    """
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            if path.suffix == ".gz":  # equal bytes for equal volumes: no name, no time, independent of threads
                with igzip_threaded.open(file, "wb", threads=2) as zipped:
                    _write_nifti(volume, zipped)
            else:
                _write_nifti(volume, file)
        checksums = {suffix_of(path): file_hash(temporary)}
    for suffix, text in volume.gradients.files(volume.affine).items() if volume.gradients else ():
        with written_whole(file_beside(path, suffix)) as temporary:
            temporary.write_text(text, encoding="ascii")
            checksums[suffix] = file_hash(temporary)
    fields = sidecar(volume.metadata) | {"sha256": checksums}
    with written_whole(file_beside(path, ".json")) as temporary:
        temporary.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return fields


def _write_nifti(volume: Volume, stream: IO[bytes]) -> None:
    """Header and voxels in one pass; nibabel's own writer wants to seek, which a compressed stream cannot."""
    storage = storage_of(volume.array, volume.stored_scale)
    nifti_header(volume, storage).write_to(stream)
    for plane in storage.planes(volume.array):
        stream.write(plane.tobytes(order="F"))


def suffix_of(path: Path) -> str:
    """``.nii.gz`` or ``.nii``."""
    return ".nii.gz" if path.name.endswith(".nii.gz") else ".nii"


def file_beside(path: Path, suffix: str) -> Path:
    """``x.json`` for ``x.nii.gz`` or ``x.nii`` and ``.json``."""
    return path.with_name(path.name.removesuffix(suffix_of(path)) + suffix)
