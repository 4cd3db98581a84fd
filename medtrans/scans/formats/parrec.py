"""Philips PAR/REC: one file with several contrasts becomes several volumes, in strict order, with a stated scale."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.export.datafiles import data_files
from medtrans.scans.output.gradients import Gradients, gradients_of

MARK = b"=== DATA DESCRIPTION FILE"
SCALES = {"display": "dv", "precise": "fp"}  # nibabel's names
# What makes different images of one place; the rest (dynamics, phases, directions) runs along the fourth axis.
CONTRASTS = {"echo number": "echo", "image_type_mr": "image type", "scanning sequence": "sequence"}
IMAGE_TYPES = {0: "magnitude", 1: "real", 2: "imaginary", 3: "phase"}


@dataclass
class Recorded:
    """One contrast of a PAR/REC file.

    Attributes:
        array: float32, (X, Y, Z) or (X, Y, Z, T), as stored in the file.
        affine: voxel index to RAS mm.
        scale: ``display`` or ``precise``.
        stored_scale: slope and intercept, where all images share them.
        fields: of the sidecar.
        gradients: diffusion weightings, None when it has none or they are not all known.
        pixels: whether ``array`` holds the voxels, or zeros in their place.
    """

    array: np.ndarray
    affine: np.ndarray
    scale: str
    stored_scale: tuple[float, float] | None
    fields: dict[str, Any] = field(default_factory=dict)
    gradients: Gradients | None = None
    pixels: bool = True


def contrasts(path: Path) -> list[str]:
    """A label for every contrast in the file; one empty label where it holds only one.

    Raises:
        InputError: damaged or truncated.
    """
    image = _image(path, "display")
    try:
        return list(_by_contrast(image))
    except Exception as error:  # numpy raises many kinds on damaged tables
        raise _damaged(error) from error


def read_recorded(path: Path, scale: str, label: str = "", pixels: bool = True) -> Recorded:
    """One contrast of the file, read by nibabel.

    Args:
        path: the PAR file.
        scale: ``display`` (values as on the console) or ``precise`` (Philips' floating point values).
        label: one of :func:`contrasts`.
        pixels: whether to read the voxels, or zeros in their place.

    Raises:
        InputError: damaged or truncated, the REC file missing, or scaled by nothing.
    """
    image = _image(path, scale)
    chosen = _by_contrast(image)[label]
    slopes, intercepts = (np.broadcast_to(v, (1, 1, *image.shape[2:])) for v in _scaling(image, scale))
    try:
        array = np.asarray(image.dataobj, np.float32) if pixels else np.broadcast_to(np.float32(0), image.shape)
    except Exception as error:  # nibabel and numpy raise many kinds on damaged files
        raise _damaged(error) from error
    if array.ndim == 4:
        array, slopes, intercepts = (values[..., chosen] for values in (array, slopes, intercepts))
        array = array[..., 0] if array.shape[-1] == 1 else array
    scales = {*zip(slopes.ravel().tolist(), intercepts.ravel().tolist(), strict=True)}
    stored_scale = scales.pop() if len(scales) == 1 else None
    fields = _fields(image.header, chosen) | ({"part": label} if label else {})
    weightings = _weightings(image.header, chosen)
    if weightings:
        fields["b_values"] = [weighting["DiffusionBValue"] for weighting in weightings]
    affine = np.array(image.affine)
    return Recorded(array, affine, scale, stored_scale, fields, gradients_of(weightings, affine), pixels)


def _image(path: Path, scale: str) -> Any:
    import nibabel as nib
    from nibabel.parrec import PARRECImage

    (data,) = data_files(path, "parrec")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            holders = {"header": nib.FileHolder(filename=str(path)), "image": nib.FileHolder(filename=str(data))}
            return PARRECImage.from_file_map(holders, permit_truncated=False, scaling=SCALES[scale], strict_sort=True)
    except Exception as error:  # nibabel raises many kinds on damaged files
        raise _damaged(error) from error


def _damaged(error: Exception) -> InputError:
    return InputError(
        "image file", f"the PAR/REC files are damaged or cut short ({type(error).__name__})", "Copy again"
    )


def _scaling(image: Any, scale: str) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):
        slopes, intercepts = image.header.get_data_scaling(SCALES[scale])
    if not np.isfinite([slopes, intercepts]).all() or not np.all(slopes):
        raise InputError("image file", f"its {scale} scale gives no values", "Choose the other Philips scale")
    return slopes, intercepts


def _by_contrast(image: Any) -> dict[str, list[int]]:
    """Label of every contrast -> its places along the fourth axis."""
    labels: Mapping[str, Any] = image.header.get_volume_labels()
    varying = {name: labels[name] for name in CONTRASTS if name in labels}
    if not varying:
        return {"": list(range(image.shape[3] if len(image.shape) > 3 else 1))}
    groups: dict[str, list[int]] = {}
    for place in range(image.shape[3]):
        words = [_word(name, int(values[place])) for name, values in varying.items()]
        groups.setdefault(", ".join(words), []).append(place)
    return groups


def _word(name: str, value: int) -> str:
    return IMAGE_TYPES.get(value, f"image type {value}") if name == "image_type_mr" else f"{CONTRASTS[name]} {value}"


def _weightings(header: Any, chosen: list[int]) -> list[dict[str, Any]]:
    """b-value and direction (LPS) of every volume, under DICOM's names; empty where it is no diffusion image.

    The columns are ap, fh, rl: growing to the back, to the head and to the left of the patient.
    """
    slices, rows = header.get_data_shape()[2], header.get_sorted_slice_indices()
    own = header.image_defs[[rows[v * slices] for v in chosen]]
    if len(chosen) < 2 or not header.general_info.get("diffusion") or "diffusion" not in (own.dtype.names or ()):
        return []
    return [
        {"DiffusionBValue": float(b), "DiffusionGradientOrientation": (float(left), float(back), float(head))}
        for b, (back, head, left) in zip(own["diffusion_b_factor"], own["diffusion"], strict=True)
    ]


def _fields(header: Any, chosen: list[int]) -> dict[str, Any]:
    """Sidecar fields; a value that is not the same in all images is left out."""
    slices = header.get_data_shape()[2]
    rows = header.get_sorted_slice_indices()
    own = header.image_defs[np.concatenate([rows[v * slices : (v + 1) * slices] for v in chosen])]
    fields: dict[str, Any] = {"modality": "MR", "description": str(header.general_info.get("protocol_name", ""))}
    fields |= {"Manufacturer": "Philips", "ProtocolName": fields["description"]}
    for name, key, factor in (("EchoTime", "echo_time", 1e-3), ("FlipAngle", "image_flip_angle", 1.0),
                              ("SliceThickness", "slice thickness", 1.0)):  # fmt: skip
        values = {*own[key].tolist()} if key in own.dtype.names else set()
        if len(values) == 1 and min(values) > 0:
            fields[name] = round(values.pop() * factor, 9)
    repetition = {*np.atleast_1d(header.general_info.get("repetition_time", 0.0)).tolist()}
    if len(repetition) == 1 and min(repetition) > 0:
        fields["RepetitionTime"] = round(repetition.pop() / 1000, 9)  # the file has ms
    return fields
