"""What CT degradations share: what changed in the projections is reconstructed and added, the scan stays as sharp."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch

from medtrans.simulate.degradation import Degradation, Parameters
from medtrans.simulate.tomography.projector import ParallelBeam, parallel_beam
from medtrans.simulate.tomography.reconstruction import WINDOWS, filtered_backprojection

WATER = 0.01929  # linear attenuation of water at 70 keV, the effective energy of 120 kV, in 1/mm (NIST)
VIEWS = 240  # at most, unless more are asked for
SLICES = 32  # reconstructed together: bounds the memory that a volume takes
PHOTONS = 2e6  # per mm² at the isocentre and mAs, of 120 kV behind the usual filters, as far as they are detected
SLICE_MM = 1.0  # of a 2D image that nobody says the thickness of
FLOOR = 0.5  # photons that a ray reads at least: the logarithm of none is not there
LOWEST, HIGHEST = -1024.0, 3071.0  # HU that a scanner stores in 12 bits


class CTDegradation(Degradation):
    """A degradation of CT projections: HU in, HU out.

    The scan is projected slice by slice (axis 2 of a volume runs along the table; a 2D image is one slice), a subclass
    says what its projections would have been off by, and the filtered backprojection of that is added. Nothing is lost
    to reprojection, and where nothing changes the scan stays bit by bit. What a scanner cannot store, it cuts off
    (-1024 to 3071 HU); padding below -1024 HU stays.

    Beams are parallel and of one effective energy, at which HU are linear in attenuation.

    Args:
        views: of the reference scan over half a turn; None is as many as the slice's pixels call for, 240 at most.
        window: of the filtered backprojection, the scanner's kernel: a name in
            :data:`~medtrans.simulate.tomography.WINDOWS`.

    Raises:
        ValueError: a setting is out of its range.
    """

    companions: tuple[str, ...] = ("mask",)  # 0 where a cleared background is to stay
    axial_only = True
    slice_mm: float | None = None

    def __init__(self, views: int | None = None, window: str = "hann") -> None:
        super().__init__()
        if views is not None and views < 1:
            raise ValueError(f"a scan has 1 view or more, got {views}; None takes what the slice calls for")
        if window not in WINDOWS:
            raise ValueError(f"the window is one of {', '.join(WINDOWS)}, got {window!r}")
        self.views, self.window = views, window

    def reference(self, shape: Sequence[int]) -> Parameters:
        """The parameters of the scan that all have: views and window."""
        called_for = math.ceil(math.pi / 2 * max(shape[1:3]))  # bins and views sample the spectrum alike
        return {"views": self.views or min(VIEWS, called_for), "window": self.window}

    def thickness(self) -> float:
        """Of a 2D image in mm: the setting's, else the step across it that its item says, else 1."""
        return float(self.slice_mm or self.across_mm or SLICE_MM)

    @abstractmethod
    def change(
        self, attenuation: torch.Tensor, first: int, beam: ParallelBeam, parameters: Parameters, **beside: torch.Tensor
    ) -> torch.Tensor | None:
        """What the projections of some slices are off by; None is nothing.

        Args:
            attenuation: ``(C, X, Y, slices)`` in 1/mm.
            first: index of the first of the slices.
            beam: the geometry.
            parameters: as drawn.
            **beside: the companions at these slices.

        Returns:
            ``(C, views, bins, slices)``, line integrals (no unit).
        """

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The scan with the reconstructed change."""
        volume = img if img.ndim == 4 else img[..., None]
        beside = {name: value if value.ndim == 4 else value[..., None] for name, value in companions.items()}
        beam = beam_for(volume, spacing, parameters["views"])
        degraded = torch.empty_like(volume)
        for first in range(0, volume.shape[-1], SLICES):
            slices = slice(first, first + SLICES)
            scan, here = volume[..., slices], {name: value[..., slices] for name, value in beside.items()}
            change = self.change(attenuation_of(scan), first, beam, parameters, **here)
            if change is None:
                degraded[..., slices] = scan
                continue
            hu = filtered_backprojection(beam, change, parameters["window"]) * (1000 / WATER)
            degraded[..., slices] = stored(scan, hu if "mask" not in here else hu * (here["mask"] > 0))
        return degraded.reshape(img.shape)


def photons_per_ray(
    spacing: Sequence[float], views: int, mas: float, photons: float = PHOTONS, slice_mm: float = SLICE_MM
) -> float:
    """I0, the photons that a detector bin counts in a view where nothing is in the way.

    Args:
        spacing: mm; a bin is as wide as the smaller in-plane one, and as high as the slice.
        views: that share the dose.
        mas: tube current-time product.
        photons: per mm² and mAs.
        slice_mm: thickness of the slice of a 2D image.
    """
    height = spacing[2] if len(spacing) == 3 else slice_mm
    return photons * mas * min(spacing[:2]) * height / views


def beam_for(volume: torch.Tensor, spacing: Sequence[float], views: int) -> ParallelBeam:
    """The geometry of a volume's slices."""
    shape, steps = (volume.shape[1], volume.shape[2]), (float(spacing[0]), float(spacing[1]))
    return parallel_beam(shape, steps, views, subsets=_parts(shape, views), device=str(volume.device))


def attenuation_of(hu: torch.Tensor) -> torch.Tensor:
    """Linear attenuation in 1/mm at the effective energy; nothing is clearer than air."""
    return ((hu / 1000 + 1) * WATER).clamp_min(0)


def stored(scan: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """``scan + change`` within what a scanner stores; a voxel that lies beyond that stays within its own value."""
    low, high = scan.clamp(max=LOWEST), scan.clamp(min=HIGHEST)
    worse = torch.minimum(torch.maximum(scan + change, low), high)
    return torch.where(scan < LOWEST, scan, worse)


def _parts(shape: tuple[int, int], views: int) -> int:
    """Subsets that the projector's matrix is made in, so that what making it takes stays near 250 MB."""
    return min(views, max(1, math.ceil(shape[0] * shape[1] * views / 5e6)))
