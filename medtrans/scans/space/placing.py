"""From ordered planes to the grid of their volume, by what the user wants done with gaps and with tilt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.conversion import Conversion
from medtrans.scans.series.stacks import Stack
from medtrans.scans.space.distances import how_uneven, is_even, largest_run, usual_distance
from medtrans.scans.space.geometry import (
    Planes,
    check_thickness,
    check_tilt,
    refuse_absurd,
    stated_distances,
)
from medtrans.scans.space.regular_grid import RegularGrid, regular_grid

MIXED = 0.25  # of the distance, or thickness, in the header: uneven planes closer than that are of several scans


@dataclass(frozen=True)
class Placed:
    """A stack with its grid, and what was done to get there.

    Attributes:
        stack: the frames to use; planes outside the largest run are in its ``left_out``.
        grid: where they go.
        planes: where they lie.
        found: where all planes of the series lie.
        kept: numbers of the planes used, among those found.
        warnings: what the user should know.
    """

    stack: Stack
    grid: RegularGrid
    planes: Planes
    found: Planes
    kept: range
    warnings: tuple[str, ...]

    def description(self, background: float) -> dict[str, Any]:
        """What the sidecar's ``geometry`` says; distances and positions along the planes' normal (LPS) in mm.

        ``interpolated_planes`` are indices along ``slice_axis`` of the volume in RAS order.
        """
        grid, planes = self.grid, self.planes
        said: dict[str, Any] = {
            "sheared": planes.sheared and not grid.moved,
            "tilt_degrees": round(planes.tilt, 4),
            "resampled": not grid.holds_planes,
        }
        if said["resampled"]:
            said["method"] = "linear, once" + (", each plane moved within itself" if grid.moved else "")
            said["acquired_shape"] = [*reversed(planes.first.shape), len(planes.places)]
        if grid.moved:
            said["outside"] = background
            if not grid.invented:
                said["acquired_affine"] = np.round(planes.affine(planes.spacing), 6).tolist()
        return said | self._gaps()

    def _gaps(self) -> dict[str, Any]:
        """What was uneven, and what became of it; nothing for an even stack."""
        grid, found, kept = self.grid, self.found.places, self.kept
        if len(kept) == len(found) and not grid.invented and not grid.unused:
            return {}
        start = float(np.array(self.found.first.position) @ self.found.normal)
        said: dict[str, Any] = {
            "positions_mm": [round(start + float(place), 4) for place in found],
            "largest_gap_mm": round(float(np.diff(found).max()), 4),
        }
        if len(kept) < len(found):
            said["kept_planes"] = [kept[0], kept[-1]]
            said["left_out_planes"] = len(found) - len(kept)
            said["left_out_because"] = "not in the longest run of evenly spaced planes"
        if grid.unused:
            said["unused_planes"] = list(grid.unused)
        if grid.invented:
            axis, forward = self._slice_axis()
            last = grid.shape[2] - 1
            said["slice_axis"] = axis
            said["interpolated_planes"] = sorted(m if forward else last - m for m in grid.invented)
        return said

    def _slice_axis(self) -> tuple[int, bool]:
        """The axis of the RAS volume that counts planes, and whether it counts them as the stack does."""
        import nibabel as nib

        axis, direction = nib.orientations.io_orientation(self.grid.affine)[2]
        return int(axis), direction > 0


def place(stack: Stack, conversion: Conversion) -> Placed:
    """Measure where the planes of ``stack`` lie and choose the grid they go onto.

    Raises:
        InputError: distances are uneven and the user did not say what to do about it, or nothing sensible can be done;
            the message gives the numbers.
        NotAVolume: one or two slices, with no thickness to tell or to confirm their distance.
    """
    found = Planes.of(stack.frames[0])
    everything = range(len(found.places))
    if is_even(found.places):
        return _placed(stack, found, everything, conversion, ())
    uneven = how_uneven(found.places, found.coordinates)
    if conversion.gaps == "refuse":
        raise InputError("series", uneven, "Export the missing slices, or choose --gaps resample or --gaps largest-run")
    _refuse_mixtures(stack, found, uneven)
    if conversion.gaps == "resample":
        return _placed(stack, found, everything, conversion, (uneven,))
    kept = largest_run(found.places)
    told = f"{uneven}; kept the longest even run, slices {kept[0] + 1} to {kept[-1] + 1}"
    told += f", and left out {len(found.places) - len(kept)}"
    return _placed(_cut(stack, kept), found, kept, conversion, (told,))


def _placed(stack: Stack, found: Planes, kept: range, conversion: Conversion, told: tuple[str, ...]) -> Placed:
    """``stack``, whose planes are ``kept`` of those found, on its grid; what was told about gaps comes first."""
    planes = Planes.of(stack.frames[0])
    even = is_even(planes.places)
    refuse_absurd(planes.affine(planes.spacing))
    grid = regular_grid(planes, even, conversion.tilt == "resample")
    warnings = [*told, *(check_thickness(planes) if even else [])]
    if not even:
        warnings[0] += f"; resampled: {len(grid.invented)} of {grid.shape[2]} planes are interpolated"
        warnings[0] += f", slices between them that are not used: {len(grid.unused)}" if grid.unused else ""
    warnings += [*check_tilt(planes), *_tilt_warnings(planes, grid)]
    return Placed(stack, grid, planes, found, kept, tuple(warnings))


def _refuse_mixtures(stack: Stack, found: Planes, uneven: str) -> None:
    """Scans that lie among one another must not pass for one scan with gaps."""
    times = {frame.tags.get("TemporalPositionIdentifier") for frame in stack.frames[0]}
    stated = stated_distances(found.first)
    if len(stack.frames) == 1 and len(times) > 1:
        why = f"its slices belong to {len(times)} time points"
    elif stated and usual_distance(found.places) < MIXED * min(stated):
        why = f"the header says {min(stated):.3f} mm: several scans among one another?"
    else:
        return
    raise InputError("series", f"{uneven}; {why}", "Export each scan as a series of its own")


def _cut(stack: Stack, kept: range) -> Stack:
    """The stack with the planes ``kept`` only; the others are left out."""
    used = [time[kept[0] : kept[-1] + 1] for time in stack.frames]
    here = {id(frame) for time in used for frame in time}
    others = [frame for frame in stack.all_frames if id(frame) not in here]
    return replace(stack, frames=used, left_out=[*stack.left_out, *others])


def _tilt_warnings(planes: Planes, grid: RegularGrid) -> list[str]:
    if not planes.sheared:
        return []
    if not planes.tilted:
        off = float(np.linalg.norm(planes.drift) * planes.places[-1])
        return [f"planes drift {off:.2f} mm sideways in all (directions are rounded?): the affine holds it"]
    if grid.moved:
        return [f"gantry tilt of {planes.tilt:.2f} degrees: resampled onto an orthogonal grid"]
    return [
        f"sheared by {planes.tilt:.2f} degrees (gantry tilt): the affine holds the shear; "
        "software that reads only spacing and directions will misplace slices"
    ]
