"""From a part of a DICOM series to a volume in physical units."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import nibabel as nib
import numpy as np

from medtrans.errors import InputError
from medtrans.scans.conversion import Conversion
from medtrans.scans.frames import Frame
from medtrans.scans.geometry import acquired_plane, in_stack_order, ras_shape_and_affine
from medtrans.scans.parts import Part
from medtrans.scans.pixels import AIR_HU, Rescaler, image_name, stored_planes
from medtrans.scans.placing import place
from medtrans.scans.regular_grid import RegularGrid
from medtrans.scans.stacks import Stack, arrange
from medtrans.scans.suv import date_time, suv_factor
from medtrans.scans.volume import Volume

CONVENTION = "DICOM RescaleSlope and RescaleIntercept, per image"
SCALE = ("MagneticFieldStrength", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "ConvolutionKernel")


def read_part(part: Part, conversion: Conversion, series: Sequence[Frame] = ()) -> Volume:
    """Decode, rescale, stack and place one part.

    Args:
        part: frames of one volume.
        conversion: what the user decided.
        series: all frames of the SeriesInstanceUID, which PET timing needs.

    Raises:
        InputError: the part cannot be a volume; the message says why.
    """
    if part.verdict is not None:
        raise part.verdict
    placed = place(arrange(part.frames, complete_only=conversion.gaps == "largest-run"), conversion)
    stack, grid = placed.stack, placed.grid
    tags = stack.frames[0][0].tags
    rescaler = Rescaler(AIR_HU if tags.get("Modality") == "CT" else 0.0)
    shape, affine = ras_shape_and_affine(grid.shape, grid.affine)
    array = np.zeros(shape if len(stack.frames) == 1 else (*shape, len(stack.frames)), np.float32, order="F")
    _fill(array, stack, grid, rescaler)
    metadata = _metadata(part, stack)
    metadata["warnings"] = [*stack.warnings, *placed.warnings]
    _set_unit(array, metadata, stack, conversion.pet_unit, series)
    if rescaler.padded:
        metadata["padding"] = {"voxels": rescaler.padded, "replaced_by": rescaler.background}
    _warn_of_values(array, metadata, tags)
    metadata["acquired_plane"] = acquired_plane(grid.affine)
    metadata["geometry"] = placed.description(rescaler.background)
    volume = Volume(array, affine, metadata, stack.frames, grid.affine if grid.holds_planes else None)
    volume.stored_scale = _stored_scale(stack, metadata)
    metadata["spacing_mm"] = [round(value, 6) for value in volume.spacing]
    metadata["shape"] = list(volume.array.shape)
    metadata["orientation"] = "".join(nib.aff2axcodes(affine))
    return volume


def _fill(array: np.ndarray, stack: Stack, grid: RegularGrid, rescaler: Rescaler) -> None:
    """Put the physical values of every frame into ``array``, RAS, (X, Y, Z[, T]), zeros at first."""
    rows, columns = stack.frames[0][0].shape
    places = {id(frame): (k, t) for t, time in enumerate(stack.frames) for k, frame in enumerate(time)}
    ordered = in_stack_order(array, grid.affine)  # a view: one volume in memory
    volumes = [ordered] if array.ndim == 3 else [ordered[..., t] for t in range(len(stack.frames))]
    lowest, highest = np.inf, -np.inf
    for frame, stored in stored_planes(stack.all_frames):
        if stored.shape != (rows, columns):
            raise InputError(
                image_name(frame.file),
                f"its pixels are {stored.shape[0]} x {stored.shape[1]}, its header says {rows} x {columns}",
                "Export this image again",
            )
        k, t = places[id(frame)]
        plane = rescaler(frame, stored)
        lowest, highest = min(lowest, float(plane.min())), max(highest, float(plane.max()))
        grid.add(volumes[t], k, plane, rescaler.background)
    if grid.interpolates:  # rounding must not put a value beyond those measured
        np.clip(array, min(lowest, rescaler.background) if grid.moved else lowest,
                max(highest, rescaler.background) if grid.moved else highest, out=array)  # fmt: skip


def _stored_scale(stack: Stack, metadata: dict[str, Any]) -> tuple[float, float] | None:
    """Slope and intercept from stored integers to the volume's values, where one pair holds for all images."""
    scales = {frame.rescale for frame in stack.all_frames}
    if len(scales) > 1:
        return None
    slope, intercept = scales.pop()
    factor = metadata.get("suv", {}).get("factor", 1.0)
    return slope * factor, intercept * factor


def frame_of_reference(tags: dict[str, Any]) -> str:
    """A name for the FrameOfReferenceUID that is not the UID; equal where headers share it, empty where none is."""
    uid = tags.get("FrameOfReferenceUID")
    return hashlib.sha256(str(uid).encode()).hexdigest()[:16] if uid else ""


def _metadata(part: Part, stack: Stack) -> dict[str, Any]:
    tags = stack.frames[0][0].tags
    description = str(tags.get("SeriesDescription", ""))
    metadata: dict[str, Any] = {
        "modality": tags.get("Modality", ""),
        "description": f"{description} [{part.label}]".strip() if part.label else description,
        "manufacturer": str(tags.get("Manufacturer", "")),
        "model": str(tags.get("ManufacturerModelName", "")),
        "image_type": list(tags.get("ImageType", ())),
        "unit": "",
        "rescale": CONVENTION,
        "frame_of_reference": frame_of_reference(tags),
        "files": len({id(frame.file) for frame in [*stack.all_frames, *stack.copies, *stack.left_out]}),
        "slices": len(stack.frames[0]),
    }
    metadata |= {name: tags[name] for name in SCALE if name in tags}
    if stack.copies:
        metadata["copies_dropped"] = len(stack.copies)
    if stack.times_left_out:
        metadata["time_points_left_out"] = stack.times_left_out
    if len(stack.frames) > 1:
        metadata["time_points"] = len(stack.frames)
        metadata["ordered_by"] = stack.ordered_by
        metadata["time_step_s"] = _time_step(stack)
        if all("DiffusionBValue" in time[0].tags for time in stack.frames):
            metadata["b_values"] = [time[0].tags["DiffusionBValue"] for time in stack.frames]
    return metadata


def _time_step(stack: Stack) -> float | None:
    """Seconds between time points by their acquisition times; None where these are missing or uneven."""
    times: list[datetime] = []
    for time in stack.frames:
        tags = time[0].tags
        day = tags.get("AcquisitionDate") or tags.get("SeriesDate", "")
        moment = date_time(tags.get("AcquisitionDateTime")) or date_time(f"{day}{tags.get('AcquisitionTime', '')}")
        if moment is None:
            return None
        times.append(moment)
    steps = [(after - before).total_seconds() for before, after in pairwise(times)]
    step = (times[-1] - times[0]).total_seconds() / len(steps)
    return round(step, 6) if step > 0 and max(abs(s - step) for s in steps) <= 0.05 * step else None


def _set_unit(
    array: np.ndarray, metadata: dict[str, Any], stack: Stack, pet_unit: str, series: Sequence[Frame]
) -> None:
    """Name the unit of the values; bring PET to SUV in place where wanted and possible."""
    tags = stack.frames[0][0].tags
    modality = tags.get("Modality")
    if modality == "CT":
        kind = tags.get("RescaleType", "HU")
        metadata["unit"] = "HU" if str(kind).upper().startswith("HU") else str(kind)
        if "RescaleIntercept" not in tags:
            metadata["unit"] = ""
            metadata["warnings"].append("CT without RescaleIntercept: stored values, maybe not HU")
    elif modality == "PT":
        units = str(tags.get("Units", ""))
        kind = str(tags.get("SUVType", "BW"))
        metadata["unit"] = {"BQML": "Bq/ml", "GML": "SUV" if kind == "BW" else f"SUV by {kind}"}.get(units, units)
        if pet_unit == "suv":
            _to_suv(array, metadata, stack, series)
        elif units != "BQML":
            metadata["warnings"].append(f"values are in {units or 'an unknown unit'}, Bq/ml was asked for")


def _to_suv(array: np.ndarray, metadata: dict[str, Any], stack: Stack, series: Sequence[Frame]) -> None:
    try:
        suv = suv_factor(stack.all_frames, series)
    except InputError as error:
        metadata["warnings"].append(f"{error.problem}; values stay in {metadata['unit'] or 'an unknown unit'}")
        return
    array *= np.float32(suv.factor)
    metadata["suv"] = {
        "factor": suv.factor,
        "from_unit": metadata["unit"],
        "decay_seconds": suv.decay_seconds,
        "tags": list(suv.tags),
    }
    metadata["unit"] = "SUV"


def _warn_of_values(array: np.ndarray, metadata: dict[str, Any], tags: dict[str, Any]) -> None:
    low, high = float(array.min()), float(array.max())
    if metadata["unit"] == "HU" and low < AIR_HU:
        metadata["warnings"].append(
            f"values down to {low:g} HU: padding the header does not declare? Clip to {AIR_HU:g} before interpolating"
        )
    if low == high:
        metadata["warnings"].append(f"every voxel is {low:g}")
    if str(tags.get("LossyImageCompression", "")).endswith("1"):
        metadata["warnings"].append("was compressed with loss: values are not the scanner's")
    if tags.get("PhotometricInterpretation") == "MONOCHROME1":
        metadata["warnings"].append("MONOCHROME1: values as stored, shown dark for high by viewers")
    if not metadata["frame_of_reference"]:
        metadata["warnings"].append("no FrameOfReferenceUID: alignment with other series is not stated by the header")
