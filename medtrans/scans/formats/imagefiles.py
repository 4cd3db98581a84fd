"""NIfTI, MetaImage, NRRD and Philips PAR/REC files taken over as they are, once their geometry has been checked."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from io import IOBase
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from medtrans.errors import InputError
from medtrans.scans.conversion import Conversion
from medtrans.scans.export.datafiles import data_files
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.formats.analyze import affine_of, analyze_image
from medtrans.scans.formats.metaimage import is_sound
from medtrans.scans.formats.parrec import Recorded, read_recorded
from medtrans.scans.output.volume import Volume
from medtrans.scans.space.geometry import LPS_TO_RAS, acquired_plane, largest_distance, to_ras

DISAGREE = 0.1  # mm between qform and sform, anywhere in the volume, from which it is said
# Contrasts a file name may tell without telling who the patient is: word -> (modality, description).
CONTRASTS = {
    "t1w": ("MR", "T1"), "t1": ("MR", "T1"), "t2w": ("MR", "T2"), "t2": ("MR", "T2"), "flair": ("MR", "FLAIR"),
    "pdw": ("MR", "PD"), "pd": ("MR", "PD"), "bold": ("MR", "BOLD"), "dwi": ("MR", "DWI"), "adc": ("MR", "ADC"),
    "mra": ("MR", "MRA"), "mr": ("MR", ""), "ct": ("CT", ""), "pet": ("PT", ""), "pt": ("PT", ""),
}  # fmt: skip
MOST_COMPRESSED = 1100  # voxels that a byte can hold at most: deflate reaches 1032
ONE_AT_A_TIME = threading.Lock()  # the NRRD library keeps its error messages in one place for all threads
METRES = {"meter": 1000.0, "micron": 0.001, "mm": 1.0, "unknown": 1.0}
NRRD_SPACES = {
    "right-anterior-superior", "ras", "left-anterior-superior", "las", "left-posterior-superior", "lps",
    "right-anterior-superior-time", "rast", "left-anterior-superior-time", "last", "left-posterior-superior-time",
    "lpst",
}  # fmt: skip


def read_image(file: ScanFile, conversion: Conversion | None = None, label: str = "", pixels: bool = True) -> Volume:
    """The volume in an image file that is no DICOM.

    Args:
        file: of format ``nifti``, ``itk`` (MetaImage, NRRD), ``parrec`` or ``analyze``.
        conversion: PAR/REC files have Philips' two scales, Analyze files no left and right of their own.
        label: which of the contrasts in a PAR/REC file.
        pixels: whether to read them; otherwise all voxels are 0, without taking memory.

    Raises:
        InputError: it cannot be a volume; the message says why.
    """
    chosen = conversion or Conversion()
    if file.format == "parrec":
        recorded = read_recorded(file.path, chosen.philips_scale, label, pixels)
        volume = _of_recorded(recorded, file.path)
    elif file.format == "analyze":
        volume = _read_analyze(file.path, chosen.analyze, pixels)
    else:
        volume = (read_nifti if file.format == "nifti" else read_itk)(file.path, pixels)
    volume.metadata["files"] = 1 + len(data_files(file.path, file.format))
    return volume


def read_nifti(path: Path, pixels: bool = True) -> Volume:
    """A NIfTI file, or the header of one in two files, with its sform, or its qform where it has none.

    Raises:
        InputError: damaged, without orientation, singular or not finite, colour, or not 3D or 4D.
    """
    try:
        with ExitStack() as opened:
            image, streams = _nifti(path, opened)
            if image.get_data_dtype().fields is not None or image.get_data_dtype().kind == "c":
                raise _refused("its voxels are colours or complex numbers", "Split them into real values")
            _refuse_too_large(image.shape, path, "nifti")
            array = np.asarray(image.dataobj, dtype=np.float32) if pixels else _nothing(image.shape)
            for stream in streams if pixels else ():
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
    volume = _taken_over(array, affine, path, "NIfTI scl_slope and scl_inter", warnings, pixels)
    if image.get_data_dtype().kind in "iu":
        volume.stored_scale = float(image.dataobj.slope), float(image.dataobj.inter)
    return volume


def _read_analyze(path: Path, side: str, pixels: bool) -> Volume:
    image = analyze_image(path, side)
    _refuse_too_large(image.shape, path, "analyze")
    try:
        array = np.asarray(image.dataobj, dtype=np.float32) if pixels else _nothing(image.shape)
        affine = affine_of(image, side)
    except Exception as error:  # nibabel and numpy raise many kinds on damaged files
        raise _refused(f"the Analyze files are damaged ({type(error).__name__})", "Copy them again") from error
    warning = f"Analyze 7.5 does not say which side is left: taken for {side}, as chosen"
    return _taken_over(array, affine, path, "Analyze, scale of SPM99 where there is one", [warning], pixels)


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


def _nifti(path: Path, opened: ExitStack) -> tuple[nib.Nifti1Image, list[IOBase]]:
    """The image behind a NIfTI-1 or -2 header, whatever the files are called, its voxels still in the streams."""
    stream = _unzipped(path, opened)
    head = stream.read(348)
    stream.seek(0)
    second = head[4:6] in (b"n+", b"ni")
    if head[344:347] == b"ni1" or head[4:7] == b"ni2":
        (data,) = data_files(path, "nifti")
        voxels = _unzipped(data, opened)
        holders = {"header": nib.FileHolder(fileobj=stream), "image": nib.FileHolder(fileobj=voxels)}
        return (nib.Nifti2Pair if second else nib.Nifti1Pair).from_file_map(holders), [stream, voxels]
    return (nib.Nifti2Image if second else nib.Nifti1Image).from_stream(stream), [stream]


def _unzipped(path: Path, opened: ExitStack) -> IOBase:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    stream: Any = igzip.IGzipFile(path) if zipped else path.open("rb")
    return opened.enter_context(stream)


def read_itk(path: Path, pixels: bool = True) -> Volume:
    """A MetaImage or NRRD file, read by SimpleITK (LPS) and turned to RAS.

    Raises:
        InputError: damaged, several components, or not 3D or 4D.
    """
    import SimpleITK

    with path.open("rb") as file:
        head = file.read(65536)
    nrrd = head.startswith(b"NRRD")
    if nrrd:
        _refuse_unknown_space(head)
    elif not is_sound(head):
        raise _refused("the MetaImage header is damaged", "Copy it again")
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if nrrd else "MetaImageIO")  # the name of the file need not tell
    reader.SetFileName(str(path))
    try:
        with ONE_AT_A_TIME:
            reader.ReadImageInformation()
        if reader.GetNumberOfComponents() > 1:
            raise _refused("its voxels have several components", "Split them into images of their own")
        dimension, size = reader.GetDimension(), reader.GetSize()
        _refuse_too_large(size, path, "itk")
        with ONE_AT_A_TIME:
            image: Any = reader.Execute() if pixels and dimension in (3, 4) else reader
    except RuntimeError as error:
        raise _refused("the image file is damaged or its data file is missing", "Copy it again") from error
    if dimension not in (3, 4):
        raise _refused(f"it has {dimension} dimensions", "Give a volume or a series of volumes")
    lps = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)
    lps[:3, :3] = direction[:3, :3] * np.array(image.GetSpacing()[:3])
    lps[:3, 3] = image.GetOrigin()[:3]
    array = SimpleITK.GetArrayFromImage(image).transpose().astype(np.float32) if pixels else _nothing(size)
    return _taken_over(array, LPS_TO_RAS @ lps, path, "as stored", [], pixels)


def _refuse_unknown_space(head: bytes) -> None:
    """An NRRD header must say what its axes mean; MetaImage always does (LPS)."""
    match = re.search(rb"^space:[ \t]*([^\r\n]+)", head.split(b"\n\n")[0].split(b"\r\n\r\n")[0], re.MULTILINE)
    if match is None:
        raise _refused("the NRRD header states no space: left and right are unknown", "Set its space and directions")
    if match[1].decode("latin-1").strip().lower() not in NRRD_SPACES:
        raise _refused(
            "the space in the NRRD header is not that of a patient", "Set it to left-posterior-superior or the like"
        )


def _of_recorded(recorded: Recorded, path: Path) -> Volume:
    rescale = f"Philips PAR/REC, {recorded.scale} values"
    volume = _taken_over(recorded.array, recorded.affine, path, rescale, [], recorded.pixels)
    volume.stored_scale, volume.gradients = recorded.stored_scale, recorded.gradients
    volume.metadata |= recorded.fields
    return volume


def _refuse_too_large(shape: Sequence[int], path: Path, format: str) -> None:  # noqa: A002 - as in ScanFile
    """Refuse a header that describes more voxels than its files can hold, before memory is taken for them."""
    there = sum(file.stat().st_size for file in (path, *data_files(path, format)))
    if math.prod(map(int, shape)) > MOST_COMPRESSED * there:
        raise _refused(
            f"its header describes {'x'.join(map(str, shape))} voxels, which it cannot hold", "Copy it again"
        )


def _nothing(shape: Any) -> np.ndarray:
    """Zeros that take no memory, in the place of voxels that need not be read."""
    return np.broadcast_to(np.float32(0), tuple(map(int, shape)))


def _taken_over(
    array: np.ndarray, affine: np.ndarray, path: Path, rescale: str, warnings: list[str], pixels: bool
) -> Volume:
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise _refused(f"its shape is {array.shape}", "Give a volume or a series of volumes")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise _refused("its affine is singular or not finite", "Set its orientation")
    bad = int(np.count_nonzero(~np.isfinite(array))) if pixels else 0
    if bad:
        raise _refused(f"{bad} voxels are NaN or infinite", "Replace them by the background value")
    modality, description = contrast_of(path)
    metadata: dict[str, Any] = {
        "modality": modality,
        "description": description,
        "unit": "",
        "rescale": rescale,
        "frame_of_reference": "",
        "warnings": warnings,
        "acquired_plane": acquired_plane(affine),
    }
    if array.ndim == 4:
        metadata["time_points"] = array.shape[3]
    turned, turned_affine = to_ras(array, affine)
    volume = Volume(np.asfortranarray(turned) if pixels else turned, turned_affine, metadata)
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
