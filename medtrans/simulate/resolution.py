"""Resolution loss: what thick slices and a blunt point-spread function leave of an image, on its own grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import special

from medtrans.simulate.degradation import Degradation, Degradationd, Parameters, Range, limits
from medtrans.transforms.regrid import CUBIC_NEEDS
from medtrans.transforms.separable import axis_matrix

SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
FLANK = 0.4  # width of each flank of the trapezoid, in FWHM: what a Shinnar-Le Roux pulse of moderate length makes
ORDERS = {"linear": 1, "cubic": 3}  # of splines


class LowResolution(Degradation):
    """A volume seen through thick slices and a blunt point-spread function, brought back to its own grid.

    Along ``axis``, slices of a profile (area 1, full width at half maximum ``thickness``) lie every ``thickness + gap``
    mm, centred in the field of view, and what lies between them is interpolated. Along the others the image is
    convolved with a Gaussian of ``psf``, and cut to ``k_space`` where an MR image was sampled that coarsely. All of it
    is linear and separable, one matrix an axis, symmetric about each voxel: nothing moves, and a constant stays what it
    is. A voxel counts as constant over its extent, so that slices which are not whole voxels see the right shares.

    Nothing is lost where every width lies below the voxels of an image; a warning tells so.

    Slices are acquired where they say: MONAI's ``RandSimulateLowResolution`` picks nearest voxels instead (aliasing),
    knows no slice profile, and measures in zoom factors. 2D images lose resolution in plane only.

    Args:
        thickness: mm, of a slice; not below a voxel. 0 keeps the voxels of ``axis``.
        gap: mm, between slices; below 0 they overlap.
        axis: across the slices, 0 (sagittal), 1 (coronal) or 2 (axial).
        profile: ``"box"`` (3D encoding, CT), ``"gaussian"`` or ``"trapezoid"`` (2D MR, with flanks of 0.4 FWHM).
        psf: FWHM in mm that is added in plane (widths add as squares), 0 for none; or one range for every axis of the
            image, as in ``[[0, 0], [1, 2], [0, 3]]``.
        k_space: mm, the in-plane voxel size of an MR acquisition whose k-space is filled up with zeros: ringing
            (a sinc of 1.2 times this width), and magnitudes where the image has no negative values. None for none.
        interpolation: of slices: ``"linear"``, ``"cubic"`` (spline, from four slices on) or ``"nearest"``.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        thickness: Range = (3.0, 6.0),
        gap: Range = 0.0,
        axis: int = 2,
        profile: str = "box",
        psf: Range | Sequence[Sequence[float]] = (1.0, 2.5),
        k_space: Range | None = None,
        interpolation: str = "linear",
    ) -> None:
        super().__init__()
        if profile not in PROFILES:
            raise ValueError(f"the profile is one of {', '.join(PROFILES)}, got {profile!r}")
        if interpolation not in (*ORDERS, "nearest"):
            raise ValueError(f"the interpolation is one of {', '.join(ORDERS)}, nearest, got {interpolation!r}")
        if axis not in (0, 1, 2):
            raise ValueError(f"slices lie across axis 0, 1 or 2, got {axis}")
        self.thickness, self.gap, self.k_space = thickness, gap, k_space
        self.axis, self.profile, self.interpolation = axis, profile, interpolation
        self.psf = _widths(psf)
        limits(gap)
        widths = self.psf if isinstance(self.psf, list) else [self.psf]
        for name, bounds in [("thickness", thickness), *(("psf", width) for width in widths)]:
            if limits(bounds)[0] < 0:
                raise ValueError(f"{name} is a width in mm, 0 or more, got {bounds}")
        if k_space is not None and limits(k_space)[0] <= 0:
            raise ValueError(f"k_space is a voxel size in mm above 0, got {k_space}; None leaves k-space whole")

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """Thickness, distance and in-plane widths in mm."""
        across = self.axis if len(spacing) == 3 else None
        if self._loses_nothing(spacing, across):
            sizes = " x ".join(f"{step:g}" for step in spacing)
            problem = f"LowResolution takes nothing from voxels of {sizes} mm: no setting goes beyond their size"
            warnings.warn(f"{problem}; raise k_space, psf or, for volumes, thickness", stacklevel=2)
        drawn: Parameters = {"psf_mm": self._drawn_widths(len(spacing), across)}
        if across is not None:
            thickness = max(self.between(self.thickness), spacing[across])
            distance = max(thickness + self.between(self.gap), spacing[across])
            drawn |= {"axis": across, "thickness_mm": thickness, "distance_mm": distance, "profile": self.profile}
            drawn |= {"interpolation": self.interpolation}
        if self.k_space is not None:
            drawn["k_space_mm"] = self.between(self.k_space)
        return drawn

    def _loses_nothing(self, spacing: Sequence[float], across: int | None) -> bool:
        """Whether no draw can change an image of these voxels."""
        widths = self.psf if isinstance(self.psf, list) else [self.psf]
        if any(limits(width)[1] > 0 for width in widths):
            return False
        if across is not None and (limits(self.thickness)[1] > spacing[across] or limits(self.gap)[1] > 0):
            return False
        in_plane = [step for axis, step in enumerate(spacing) if axis != across]
        return self.k_space is None or limits(self.k_space)[1] <= min(in_plane)

    def _drawn_widths(self, axes: int, across: int | None) -> list[float]:
        """The FWHM along each axis."""
        if isinstance(self.psf, list):
            if len(self.psf) != axes:
                raise ValueError(f"psf has {len(self.psf)} ranges, the image {axes} axes: give one an axis")
            return [self.between(bounds) for bounds in self.psf]
        width = self.between(self.psf)
        return [0.0 if axis == across else width for axis in range(axes)]

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The image as it was acquired, on its own grid."""
        seen, across = img, parameters.get("axis")
        for axis, (step, width) in enumerate(zip(spacing, parameters["psf_mm"], strict=True)):
            length = img.shape[axis + 1]
            matrix = blurred(length, step, width)
            if axis == across:
                thickness, distance = parameters["thickness_mm"], parameters["distance_mm"]
                matrix = sliced(length, step, thickness, distance, parameters["profile"]) @ matrix
            elif "k_space_mm" in parameters:
                matrix = truncated(length, step, parameters["k_space_mm"]) @ matrix
            seen = along(seen, matrix, axis)
        if "k_space_mm" in parameters and bool((img >= 0).all()):
            seen = seen.abs()
        if across is None:
            return seen
        between = interpolated(
            img.shape[across + 1], spacing[across], parameters["distance_mm"], parameters["interpolation"]
        )
        return along(seen, between, across)


class LowResolutiond(Degradationd):
    """:class:`LowResolution` on entries of an item; settings are its own."""

    array_form = LowResolution


def sliced(length: int, step: float, thickness: float, distance: float, profile: str) -> np.ndarray:
    """Voxels -> slices, ``(slices, length)``; each row holds a profile's shares of the voxels, with sum 1.

    Args:
        length, step: voxels, and their size in mm.
        thickness: mm, FWHM of the profile.
        distance: mm, from slice to slice; the slices cover the field of view.
        profile: a name in :data:`PROFILES`.
    """
    edges = (np.arange(length + 1) - length / 2) * step
    below = PROFILES[profile](edges - slice_positions(length, step, distance)[:, None], thickness)
    shares = np.diff(below, axis=1)
    return shares / shares.sum(axis=1, keepdims=True)


def interpolated(length: int, step: float, distance: float, interpolation: str) -> np.ndarray:
    """Slices -> voxels, ``(length, slices)``; the outermost slices are carried on to the edge."""
    centres = slice_positions(length, step, distance)
    position = ((np.arange(length) - (length - 1) / 2) * step - centres[0]) / distance
    position = position.clip(0, len(centres) - 1)
    if interpolation == "nearest":
        nearest = np.rint(position + 1e-9).astype(int)  # halfway goes up, whatever the rounding
        return np.eye(len(centres))[nearest.clip(0, len(centres) - 1)]
    order = ORDERS[interpolation] if len(centres) >= CUBIC_NEEDS else 1
    return axis_matrix(len(centres), position, order, 0.0).toarray().astype(float)


def slice_positions(length: int, step: float, distance: float) -> np.ndarray:
    """Centres of the slices in mm from the middle of the field of view."""
    number = max(1, math.ceil(length * step / distance - 1e-6))
    return (np.arange(number) - (number - 1) / 2) * distance


def blurred(length: int, step: float, width: float) -> np.ndarray:
    """Convolution with a Gaussian of FWHM ``width`` mm, ``(length, length)``, for an edge that does not darken.

    The discrete Gaussian of Lindeberg (doi 10.1109/34.49051): its variance is exact at every width, however narrow.
    """
    variance = (width * SIGMA_PER_FWHM / step) ** 2
    offsets = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    kernel = special.ive(offsets, variance)
    return kernel / kernel.sum(axis=1, keepdims=True)


def truncated(length: int, step: float, voxel: float) -> np.ndarray:
    """The image of the inner k-space that voxels of ``voxel`` mm need, filled up with zeros, ``(length, length)``."""
    kept = np.abs(np.fft.fftfreq(length, step)) <= (0.5 + 1e-6) / voxel
    kept[0] = True
    return np.fft.ifft(kept[:, None] * np.fft.fft(np.eye(length), axis=0), axis=0).real


def along(img: torch.Tensor, matrix: np.ndarray, axis: int) -> torch.Tensor:
    """``matrix`` times every line of spatial ``axis`` of ``(C, X, Y[, Z])``."""
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
        return img
    weights = torch.as_tensor(matrix, dtype=img.dtype, device=img.device)
    return (img.movedim(axis + 1, -1) @ weights.T).movedim(-1, axis + 1)


def _widths(psf: Range | Sequence[Sequence[float]]) -> Range | list[Range]:
    """A list where there is a range for every axis, a pair where there is one for all."""
    if isinstance(psf, Sequence):
        ranges: list[Range] = [bounds for bounds in psf if isinstance(bounds, Sequence)]
        if ranges:
            return ranges
    return limits(psf)  # type: ignore[arg-type]


def _below_box(x: np.ndarray, width: float) -> np.ndarray:
    return (x / width + 0.5).clip(0, 1)


def _below_gaussian(x: np.ndarray, width: float) -> np.ndarray:
    return special.ndtr(x / (width * SIGMA_PER_FWHM))


def _below_trapezoid(x: np.ndarray, width: float) -> np.ndarray:
    """A box of ``width`` averaged over a flank's width."""

    def integral(x: np.ndarray) -> np.ndarray:  # of _below_box
        return width / 2 * _below_box(x, width) ** 2 + (x - width / 2).clip(min=0)

    flank = FLANK * width
    return (integral(x + flank / 2) - integral(x - flank / 2)) / flank


#: name -> share of the profile's area below x mm, given its FWHM
PROFILES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "box": _below_box,
    "gaussian": _below_gaussian,
    "trapezoid": _below_trapezoid,
}
