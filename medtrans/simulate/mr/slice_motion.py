"""2D multi-slice k-space of a moving volume: a slice excites what lies in its plane at that moment.

In the head's own coordinates v the plane of the slice is a sheet: its height is m.v + g. A place u in the plane of the
scanner is v = A u + b in the head. So a line of k-space is the sheet's transform at A^-T k, with the phase ramp of a
shift by -A^-1 b and the factor 1 / |A|: turns and shifts within the plane need no interpolation in the image, and
tilted planes are foreshortened as they should be. Sheets of nearly the same height are one (:data:`SHEET_STEP`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medtrans.simulate.mr.poses import HEAD_RADIUS
from medtrans.simulate.mr.regridding import moving_kspace

#: heights are rounded to this part of the slice distance, tilts to the same at the rim of the head: three roundings, so
#: that no point of a sheet is more than 0.075 slices off
SHEET_STEP = 0.05


def moving_slices_kspace(
    volumes: torch.Tensor, spacing: Sequence[float], turns: np.ndarray, shifts: np.ndarray, axes: Sequence[int]
) -> torch.Tensor:
    """What a scanner measures of volumes that move, slice by slice.

    Args:
        volumes: ``(C, X, Y, Z)`` float32 on the CPU.
        spacing: mm, three numbers.
        turns: ``(slices, lines, 3, 3)`` of the head; lines ordered as ``numpy.fft.fftfreq``.
        shifts: ``(slices, lines, 3)``, mm.
        axes: readout, phase, slice.

    Returns:
        ``(C, X, Y, Z)`` complex64: the k-space of each slice in its place, as ``torch.fft.fftn`` over readout and phase
        orders it. Beyond the outermost slices the head goes on as it ends there.
    """
    readout, phase, across = axes
    plane = sorted((readout, phase))
    in_plane = [spacing[axis] for axis in plane]
    stack = volumes.movedim(1 + across, 1)  # (C, slices, *plane)
    kspace = torch.zeros(stack.shape, dtype=torch.complex64)
    for number in range(stack.shape[1]):
        height = (number - (stack.shape[1] - 1) / 2) * spacing[across]
        maps, offsets, tilts, gains = _seen_in_plane(turns[number], shifts[number], plane, across, height)
        sheets, sheet_of = np.unique(_rounded(tilts, spacing[across]), axis=0, return_inverse=True)
        for which, sheet in enumerate(sheets):
            lines = np.nonzero(sheet_of.reshape(-1) == which)[0]
            image = _sheet(stack, sheet, height, in_plane, spacing[across])
            measured = _lines(image, in_plane, maps, offsets, gains, lines, plane.index(phase))
            kspace[:, number].index_copy_(1 + plane.index(phase), torch.from_numpy(lines), measured)
    return kspace.movedim(1, 1 + across)


def _seen_in_plane(
    turns: np.ndarray, shifts: np.ndarray, plane: Sequence[int], across: int, height: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How the head's sheet lies in a slice at ``height``, for each line.

    Returns:
        A^-1 ``(lines, 2, 2)``, so that its transpose takes k to A^-T k; shifts -A^-1 b ``(lines, 2)``; tilts m and
        heights g above the slice ``(lines, 3)``; and 1 / |A| ``(lines,)``.
    """
    back = np.swapaxes(turns, -1, -2)  # from the scanner to the head
    origin = -(back @ shifts[..., None])[..., 0] + back[..., across] * height  # of the slice's centre in the head
    in_plane = back[..., plane, :][..., plane]
    inverse = np.linalg.inv(in_plane)
    offsets = -(inverse @ origin[..., plane, None])[..., 0]
    slopes = (back[..., across, plane][..., None, :] @ inverse)[..., 0, :]
    rise = origin[..., across] - (slopes * origin[..., plane]).sum(-1)
    gains = 1 / np.abs(np.linalg.det(in_plane))
    return inverse, offsets, np.concatenate([slopes, (rise - height)[..., None]], -1), gains


def _rounded(tilts: np.ndarray, distance: float) -> np.ndarray:
    """Tilts and heights in steps that are a small part of the slice ``distance``."""
    step = SHEET_STEP * distance * np.array([1 / HEAD_RADIUS, 1 / HEAD_RADIUS, 1.0])
    return np.round(tilts / step) * step


def _sheet(
    stack: torch.Tensor, sheet: np.ndarray, height: float, spacing: Sequence[float], distance: float
) -> torch.Tensor:
    """The head on a tilted plane, ``(C, *plane)``: cubic between slices (Keys, a = -1/2), none within them."""
    count, sizes = stack.shape[1], stack.shape[2:]
    first, second = ((torch.arange(size) - (size - 1) / 2) * step for size, step in zip(sizes, spacing, strict=True))
    above = sheet[2] + float(sheet[0]) * first[:, None] + float(sheet[1]) * second
    place = ((height + above) / distance + (count - 1) / 2).clamp(0, count - 1)
    below = place.floor()
    part = place - below
    weights = (
        ((2 - part) * part - 1) * part / 2,
        ((3 * part - 5) * part * part + 2) / 2,
        ((4 - 3 * part) * part + 1) * part / 2,
        (part - 1) * part * part / 2,
    )
    image = torch.zeros(stack.shape[0], *sizes)
    for tap, weight in enumerate(weights):
        if weight.any():
            index = (below.long() + tap - 1).clamp(0, count - 1)
            image += weight * stack.gather(1, index.expand(stack.shape[0], 1, *sizes))[:, 0]
    return image


def _lines(
    image: torch.Tensor,
    spacing: Sequence[float],
    maps: np.ndarray,
    offsets: np.ndarray,
    gains: np.ndarray,
    lines: np.ndarray,
    phase: int,
) -> torch.Tensor:
    """The k-space lines ``lines`` of a sheet, each by its own map, shift and gain."""
    shape = [1, 1]
    shape[phase] = image.shape[1 + phase]
    turns, shifts = np.broadcast_to(np.eye(2), (shape[phase], 2, 2)).copy(), np.zeros((shape[phase], 2))
    turns[lines], shifts[lines] = maps[lines], offsets[lines]
    kspace = moving_kspace(image, spacing, turns.reshape(*shape, 2, 2), shifts.reshape(*shape, 2), 1 - phase)
    gain = torch.from_numpy(gains[lines]).float()
    return kspace.index_select(1 + phase, torch.from_numpy(lines)) * (gain[:, None] if phase == 0 else gain)
