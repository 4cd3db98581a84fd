"""NIfTI, MetaImage and NRRD files taken over as they are, once their geometry has been checked."""

from __future__ import annotations

import re
from io import IOBase
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from medtrans.errors import InputError
from medtrans.scans.geometry import LPS_TO_RAS, acquired_plane, largest_distance, to_ras
from medtrans.scans.volume import Volume

DISAGREE = 0.1  # mm between qform and sform, anywhere in the volume, from which it is said
# Contrasts a file name may tell without telling who the patient is: word -> (modality, description).
CONTRASTS = {
    "t1w": ("MR", "T1"), "t1": ("MR", "T1"), "t2w": ("MR", "T2"), "t2": ("MR", "T2"), "flair": ("MR", "FLAIR"),
    "pdw": ("MR", "PD"), "pd": ("MR", "PD"), "bold": ("MR", "BOLD"), "dwi": ("MR", "DWI"), "adc": ("MR", "ADC"),
    "mra": ("MR", "MRA"), "mr": ("MR", ""), "ct": ("CT", ""), "pet": ("PT", ""), "pt": ("PT", ""),
}  # fmt: skip
METRES = {"meter": 1000.0, "micron": 0.001, "mm": 1.0, "unknown": 1.0}


def read_nifti(path: Path) -> Volume:
    """A NIfTI file with its sform, or its qform where it has none.

    Raises:
        InputError: damaged, without orientation, singular or not finite, colour, or not 3D or 4D.
    """
    try:
        with _unzipped(path) as stream:  # nibabel.load goes by the file's name
            second = stream.read(8)[4:8] == b"n+2\0"
            stream.seek(0)
            image = (nib.Nifti2Image if second else nib.Nifti1Image).from_stream(stream)
            if image.get_data_dtype().fields is not None or image.get_data_dtype().kind == "c":
                raise _refused("its voxels are colours or complex numbers", "Split them into real values")
            array = np.asarray(image.dataobj, dtype=np.float32)
            while stream.read(1 << 20):  # to its end, where gzip keeps its checksum
                pass
        affine, unit, warnings = np.array(image.affine, float), image.header.get_xyzt_units()[0], _forms(image)
    except InputError:
        raise
    except Exception as error:  # nibabel, zlib and numpy raise many kinds on damaged files
        raise _refused(f"the NIfTI file is damaged ({type(error).__name__})", "Copy it again") from error
    affine[:3] *= METRES.get(unit, 1.0)
    if METRES.get(unit, 1.0) != 1.0:
        warnings.append(f"header is in {unit}, turned to mm")
    volume = _taken_over(array, affine, path, "NIfTI scl_slope and scl_inter", warnings)
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    if image.get_data_dtype().kind in "iu":
        volume.stored_scale = float(slope), float(intercept)
    return volume


def _forms(image: nib.Nifti1Image) -> list[str]:
    """What is to be said of qform and sform; refuses a header without either."""
    header = image.header
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    if not qform and not sform:
        raise _refused("its header has neither sform nor qform: left and right are unknown", "Set its orientation")
    if not qform or not sform:
        return []
    try:
        apart = largest_distance(header.get_sform(), header.get_qform(), image.shape)
    except ValueError:  # a quaternion that is none
        return ["qform is invalid; the sform is used"]
    if apart <= DISAGREE:
        return []
    return [f"qform and sform are up to {apart:.1f} mm apart; the sform is used"]


def _unzipped(path: Path) -> IOBase:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return igzip.IGzipFile(path) if zipped else path.open("rb")


def read_itk(path: Path) -> Volume:
    """A MetaImage or NRRD file, read by SimpleITK (LPS) and turned to RAS.

    Raises:
        InputError: damaged, several components, or not 3D or 4D.
    """
    import SimpleITK

    if not _states_space(path):
        raise _refused("the NRRD header states no space: left and right are unknown", "Set its space and directions")
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _refused("the image file is damaged or its data file is missing", "Copy it again") from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise _refused("its voxels have several components", "Split them into images of their own")
    dimension = image.GetDimension()
    if dimension not in (3, 4):
        raise _refused(f"it has {dimension} dimensions", "Give a volume or a series of volumes")
    lps = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)
    lps[:3, :3] = direction[:3, :3] * np.array(image.GetSpacing()[:3])
    lps[:3, 3] = image.GetOrigin()[:3]
    array = SimpleITK.GetArrayFromImage(image).transpose().astype(np.float32)
    return _taken_over(array, LPS_TO_RAS @ lps, path, "as stored", [])


def _states_space(path: Path) -> bool:
    """Whether an NRRD header says what its axes mean; MetaImage always does (LPS)."""
    with path.open("rb") as file:
        head = file.read(65536)
    return not head.startswith(b"NRRD") or re.search(rb"^space( dimension)?:", head, re.MULTILINE) is not None


def _taken_over(array: np.ndarray, affine: np.ndarray, path: Path, rescale: str, warnings: list[str]) -> Volume:
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise _refused(f"its shape is {array.shape}", "Give a volume or a series of volumes")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise _refused("its affine is singular or not finite", "Set its orientation")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise _refused(f"{bad} voxels are NaN or infinite", "Replace them by the background value")
    modality, description = contrast_of(path)
    metadata: dict[str, Any] = {
        "modality": modality,
        "description": description,
        "unit": "",
        "rescale": rescale,
        "frame_of_reference": "",
        "files": 1,
        "warnings": warnings,
        "acquired_plane": acquired_plane(affine),
    }
    if array.ndim == 4:
        metadata["time_points"] = array.shape[3]
    turned, turned_affine = to_ras(array, affine)
    volume = Volume(np.asfortranarray(turned), turned_affine, metadata)
    metadata["spacing_mm"] = [round(value, 6) for value in volume.spacing]
    metadata["shape"] = list(volume.array.shape)
    metadata["slices"] = int(volume.array.shape[2])
    metadata["orientation"] = "".join(nib.aff2axcodes(turned_affine))
    return volume


def contrast_of(path: Path) -> tuple[str, str]:
    """Modality and contrast, where the last word of the file name is one of the usual ones (BIDS), else empty."""
    words = re.split(r"[^a-z0-9]+", path.name.lower().split(".")[0])
    return CONTRASTS.get(words[-1], ("", ""))


def _refused(problem: str, remedy: str) -> InputError:
    return InputError("image file", problem, remedy)
