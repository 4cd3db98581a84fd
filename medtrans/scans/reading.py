"""From a part of a DICOM series to a volume in physical units."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import nibabel as nib
import numpy as np

from medtrans.errors import InputError
from medtrans.scans.conversion import Conversion
from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.pixels import image_name, lossy, refuse_cut_short, stored_planes
from medtrans.scans.intensity.units import Unit, unit_of
from medtrans.scans.intensity.values import AIR_HU, Rescaler
from medtrans.scans.output.gradients import gradients_of
from medtrans.scans.output.sidecar import described, full_description
from medtrans.scans.output.volume import Volume
from medtrans.scans.pet.moments import taken
from medtrans.scans.series.naming import images_hash
from medtrans.scans.series.parts import Part
from medtrans.scans.series.separating import UNLIKE, unlike
from medtrans.scans.series.stacks import Stack, arrange
from medtrans.scans.space.geometry import acquired_plane, check_thickness, in_stack_order, ras_shape_and_affine
from medtrans.scans.space.placing import Placed, place
from medtrans.scans.space.regular_grid import RegularGrid


def read_part(part: Part, conversion: Conversion, series: Sequence[Frame] = ()) -> Volume:
    """Decode, rescale, stack and place one part.

    Args:
        part: frames of one volume.
        conversion: what the user decided.
        series: all frames of the SeriesInstanceUID, which PET timing needs.

    Raises:
        InputError: the part cannot be a volume; the message says why.
    """
    placed = _arranged(part, conversion)
    stack, grid = placed.stack, placed.grid
    tags = stack.frames[0][0].tags
    unit = unit_of(stack.all_frames, series, conversion.pet_unit)
    rescaler = Rescaler(AIR_HU if tags.get("Modality") == "CT" else 0.0, conversion.philips_scale)
    rescaler.floor = AIR_HU if unit.name == "HU" and grid.interpolates else None
    shape, affine = ras_shape_and_affine(grid.shape, grid.affine)
    array = np.zeros(shape if len(stack.frames) == 1 else (*shape, len(stack.frames)), np.float32, order="F")
    _fill(array, stack, grid, rescaler)
    metadata = _metadata(part, stack)
    metadata |= rescaler.recorded(stack.all_frames)
    metadata["warnings"] = [*part.notes, *stack.warnings, *placed.warnings, *rescaler.warnings()]
    scale = _to_unit(array, metadata, unit, rescaler.stored_scale)
    if rescaler.padded:
        metadata["padding"] = {"voxels": rescaler.padded, "replaced_by": rescaler.background}
    _warn_of_values(array, metadata)
    metadata["warnings"] += _doubts(stack)
    metadata["acquired_plane"] = acquired_plane(grid.affine)
    metadata["geometry"] = placed.description(rescaler.background)
    volume = Volume(array, affine, metadata, stack.frames, grid.affine if grid.holds_planes else None)
    volume.stored_scale = scale
    volume.gradients = gradients_of([time[0].tags for time in stack.frames], affine)
    metadata["spacing_mm"] = [round(value, 6) for value in volume.spacing]
    metadata["shape"] = list(volume.array.shape)
    metadata["orientation"] = "".join(nib.aff2axcodes(affine))
    return volume


def _arranged(part: Part, conversion: Conversion) -> Placed:
    """The frames of a part in order, on their grid; refused where they cannot be a volume."""
    if part.verdict is not None:
        raise part.verdict
    placed = place(arrange(part.frames, complete_only=conversion.gaps == "largest-run"), conversion)
    _refuse_doubted(placed)
    return placed


def _refuse_doubted(placed: Placed) -> None:
    """Wide distances are a warning, unless it is known that images were lost."""
    doubts = {frame.file.doubt for frame in placed.stack.all_frames} - {""}
    wide = check_thickness(placed.planes) if doubts else []
    if wide:
        raise InputError("series", f"{wide[0]} It {doubts.pop()}", "Copy the archive again")


def foresee_part(part: Part, conversion: Conversion, series: Sequence[Frame] = ()) -> dict[str, Any]:
    """The metadata that :func:`read_part` will give, as far as headers tell.

    Pixels are read only where images repeat and headers do not tell copies from time points.

    Raises:
        InputError: the part cannot be a volume; the message says why.
    """
    placed = _arranged(part, conversion)
    stack, grid = placed.stack, placed.grid
    shape, affine = ras_shape_and_affine(grid.shape, grid.affine)
    rescaler = Rescaler(0.0, conversion.philips_scale)
    for frame in stack.all_frames:
        refuse_cut_short(frame.file)
        rescaler.scale(frame)
    unit = unit_of(stack.all_frames, series, conversion.pet_unit)
    metadata = _metadata(part, stack) | {"unit": unit.name}
    metadata["warnings"] = [*part.notes, *stack.warnings, *placed.warnings, *unit.warnings, *_doubts(stack)]
    metadata["spacing_mm"] = [round(float(value), 6) for value in np.linalg.norm(affine[:3, :3], axis=0)]
    metadata["shape"] = [*shape, *([len(stack.frames)] if len(stack.frames) > 1 else [])]
    return metadata


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


def frame_of_reference(images: Sequence[dict[str, Any]]) -> str:
    """A name for the one FrameOfReferenceUID of images, given by their tags, that is not the UID.

    Equal where headers share it; empty where there is none, or several.
    """
    uids = {str(tags["FrameOfReferenceUID"]) for tags in images if tags.get("FrameOfReferenceUID")}
    return hashlib.sha256(uids.pop().encode()).hexdigest()[:16] if len(uids) == 1 else ""


def _metadata(part: Part, stack: Stack) -> dict[str, Any]:
    tags = stack.frames[0][0].tags
    metadata: dict[str, Any] = {
        "modality": tags.get("Modality", ""),
        "description": full_description(tags | {"part": part.label}),
        "unit": "",
        "rescale": "",
        "frame_of_reference": frame_of_reference([frame.tags for frame in part.frames]),
        "images": images_hash(part.frames),
        "files": len({id(frame.file) for frame in [*stack.all_frames, *stack.copies, *stack.left_out]}),
        "slices": len(stack.frames[0]),
    }
    metadata |= described(stack.frames, part.label)
    if stack.copies:
        metadata["copies_dropped"] = len(stack.copies)
    if stack.times_left_out:
        metadata["time_points_left_out"] = stack.times_left_out
    starts = _starts(stack)
    if tags.get("Modality") == "PT" and starts is not None and starts == sorted(starts):
        metadata["FrameTimesStart"] = starts
    if len(stack.frames) > 1:
        metadata["time_points"] = len(stack.frames)
        metadata["ordered_by"] = stack.ordered_by
        metadata["time_step_s"] = _time_step(stack, starts)
        b_values = [time[0].tags.get("DiffusionBValue") for time in stack.frames]
        if None not in b_values and any(b_values):
            metadata["b_values"] = b_values
    return metadata


def _starts(stack: Stack) -> list[float] | None:
    """Seconds from the first time point to each, by their acquisition times; None where one is missing."""
    moments: list[datetime] = []
    for time in stack.frames:
        moment = taken(time[0].tags)
        if moment is None:
            return None
        moments.append(moment)
    return [round((moment - moments[0]).total_seconds(), 6) for moment in moments]


def _time_step(stack: Stack, starts: Sequence[float] | None) -> float | None:
    """Seconds between time points; None where these are unknown or uneven.

    The RepetitionTime where it is the same within 2 %.
    """
    if starts is None:
        return None
    steps = [after - before for before, after in pairwise(starts)]
    step = starts[-1] / len(steps)
    if step <= 0 or max(abs(s - step) for s in steps) > 0.05 * step:
        return None
    repetition = stack.frames[0][0].tags.get("RepetitionTime")  # ms; the clock is rounded, this is not
    if isinstance(repetition, (int, float)) and abs(repetition / 1000 - step) <= 0.02 * step:
        step = repetition / 1000
    return round(step, 6)


def _to_unit(
    array: np.ndarray, metadata: dict[str, Any], unit: Unit, scale: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Bring values to their unit in place, name it, and return slope and intercept of the stored integers in it."""
    if unit.factor != 1:
        array *= np.float32(unit.factor)
    metadata |= {"unit": unit.name, **unit.sidecar}
    metadata["warnings"] += unit.warnings
    return scale and (scale[0] * unit.factor, scale[1] * unit.factor)


def _warn_of_values(array: np.ndarray, metadata: dict[str, Any]) -> None:
    low, high = float(array.min()), float(array.max())
    if metadata["unit"] == "HU" and low < AIR_HU:
        metadata["warnings"].append(
            f"values down to {low:g} HU: padding the header does not declare? Clip to {AIR_HU:g} before interpolating"
        )
    if low == high:
        metadata["warnings"].append(f"every voxel is {low:g}")


def _doubts(stack: Stack) -> list[str]:
    """What headers and files say that the user should know."""
    tags = stack.frames[0][0].tags
    doubts = lossy(tags) + sorted({frame.file.doubt for frame in stack.all_frames} - {""}) + _unlike(stack)
    if tags.get("PhotometricInterpretation") == "MONOCHROME1":
        doubts.append("MONOCHROME1: values as stored, shown dark for high by viewers")
    if not any(frame.tags.get("FrameOfReferenceUID") for frame in stack.all_frames):
        doubts.append("no FrameOfReferenceUID: alignment with other series is not stated by the header")
    return doubts


def _unlike(stack: Stack) -> list[str]:
    """A word where images of one volume were not made alike."""
    said = []
    for name in UNLIKE:
        found = {frame.tags.get(name) for frame in stack.all_frames} - {None}
        if unlike(name, found):
            told = [f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(found, key=_in_order)]
            said.append(f"{name} differs between its images: {', '.join(told[:4])}{', …' if len(told) > 4 else ''}")
    return said


def _in_order(value: Any) -> tuple[float, str]:
    return (value, "") if isinstance(value, (int, float)) else (math.inf, str(value))
