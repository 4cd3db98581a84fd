"""Metal in CT: an implant in bone, whose rays are hardened and starved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medtrans.simulate.degradation import Degradationd, Parameters, Range, limits, noise_source
from medtrans.simulate.tomography.ct import FLOOR, PHOTONS, WATER, CTDegradation, photons_per_ray
from medtrans.simulate.tomography.projector import ParallelBeam

# A filtered spectrum of 120 kV in five lines: keV, share of the photons, and attenuation in 1/mm (NIST; densities 4.5,
# 7.9, 8.3 and 19.3 g/cm³; the dental alloy is 65 % cobalt, 35 % chromium)
ENERGIES = (40, 50, 60, 80, 100)
SPECTRUM = (0.15, 0.22, 0.26, 0.24, 0.13)
WATER_AT = (0.02683, 0.02269, 0.02059, 0.01837, 0.01707)
METALS: dict[str, tuple[float, ...]] = {
    "titanium": (0.996, 0.546, 0.345, 0.182, 0.122),
    "steel": (2.867, 1.546, 0.952, 0.470, 0.294),
    "cobalt-chromium": (2.977, 1.608, 0.988, 0.489, 0.305),
    "gold": (25.05, 14.01, 8.741, 4.217, 9.955),
}
LONGEST = 2000  # mm of water that hardening is tabulated for: more than the least reading can mean


class MetalArtefactCT(CTDegradation):
    """A CT scan of a head with implants, upright cylinders of metal in bone.

    Rays through metal are those of five energies behind it, counted with their Poisson noise, and taken for water, as a
    scanner's correction of beam hardening does. So dark bands lie between implants and bright streaks about them, and
    rays that hardly any photon survives are noise. Rays past the metal stay as they are. Scatter, motion and the finite
    focus are left out; metal reads what the scanner stores at most, 3071 HU.

    An image without bone stays as it is.

    Args:
        metals: names in :data:`METALS`, one of them is drawn.
        implants: how many, rounded.
        radius: mm, of a cylinder.
        height: mm, along the table.
        bone: HU, above which an implant may have its centre, unless the companion ``site`` (teeth, say) tells where.
        mas: tube current-time product of the scan.
        photons: per mm² and mAs, see :class:`~medtrans.simulate.tomography.LowDoseCT`.
        electronic: SD of a ray's reading without photons, in photons.
        slice_mm: thickness of a 2D image; None takes the step across it where an item says that, and 1 mm otherwise.
        views, window: see :class:`~medtrans.simulate.tomography.ct.CTDegradation`.

    Raises:
        ValueError: a setting is out of its range.
    """

    companions = ("mask", "site")

    def __init__(
        self,
        metals: Sequence[str] = ("titanium", "steel", "gold"),
        implants: Range = (1, 3),
        radius: Range = (1.5, 4.0),
        height: Range = (4.0, 12.0),
        bone: float = 700.0,
        mas: float = 300.0,
        photons: float = PHOTONS,
        electronic: float = 10.0,
        slice_mm: float | None = None,
        views: int | None = None,
        window: str = "hann",
    ) -> None:
        super().__init__(views, window)
        metals = [metals] if isinstance(metals, str) else list(metals)
        if not metals or set(metals) - set(METALS):
            raise ValueError(f"metals are of {', '.join(METALS)}, got {metals}")
        if min(limits(radius)[0], limits(height)[0], mas, photons, 1.0 if slice_mm is None else slice_mm) <= 0:
            raise ValueError("radius, height, mas, photons and slice_mm are above 0")
        if min(limits(implants)[0], electronic) < 0:
            raise ValueError(f"implants and electronic noise are 0 or more, got {implants} and {electronic}")
        self.metals, self.implants, self.radius, self.height, self.bone = metals, implants, radius, height, bone
        self.mas, self.photons, self.electronic, self.slice_mm = mas, photons, electronic, slice_mm

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """Metal, sizes, and where among the voxels of bone each implant lies."""
        scan = self.reference(shape)
        cylinders = [
            {
                "place": float(self.R.uniform()),  # 0..1 of the voxels of bone, in their order
                "radius_mm": self.between(self.radius),
                "height_mm": self.between(self.height),
            }
            for _ in range(round(self.between(self.implants)))
        ]
        return scan | {
            "metal": str(self.R.choice(self.metals)),
            "implants": cylinders,
            "bone_hu": self.bone,
            "photons_per_ray": photons_per_ray(spacing, scan["views"], self.mas, self.photons, self.thickness()),
            "electronic_photons": self.electronic,
            "seed": self.new_seed(),
        }

    def apply(
        self, img: torch.Tensor, parameters: Parameters, spacing: Sequence[float], **companions: torch.Tensor
    ) -> torch.Tensor:
        """The scan with the implants and what they do."""
        site = companions.pop("site")[:1] > 0 if "site" in companions else img[:1] > parameters["bone_hu"]
        filled = implanted(site[0], parameters["implants"], spacing)
        return super().apply(img, parameters, spacing, metal=filled[None], **companions)

    def change(
        self, attenuation: torch.Tensor, first: int, beam: ParallelBeam, parameters: Parameters, **beside: torch.Tensor
    ) -> torch.Tensor | None:
        """What rays through metal read, taken for water, less what they read without it."""
        filled = beside["metal"]
        if not bool(filled.any()):
            return None
        clean = beam.project(attenuation)
        metal = beam.project(filled)  # mm
        water = beam.project(attenuation * (1 - filled)) / WATER  # mm
        lines = zip(SPECTRUM, WATER_AT, METALS[parameters["metal"]], strict=True)
        passed = sum((share * torch.exp(-by_water * water - by_metal * metal) for share, by_water, by_metal in lines))
        counts = parameters["photons_per_ray"] * torch.as_tensor(passed).cpu().double()
        source = noise_source({"seed": parameters["seed"] + first})  # of these slices
        read = torch.poisson(counts, generator=source)
        read += parameters["electronic_photons"] * torch.randn(read.shape, generator=source, dtype=read.dtype)
        hidden = -torch.log(read.clamp_min(FLOOR) / parameters["photons_per_ray"])
        taken_for = WATER * as_water(hidden.numpy())
        return torch.where(metal > 0, torch.from_numpy(taken_for).to(clean) - clean, torch.zeros_like(clean))


class MetalArtefactCTd(Degradationd):
    """:class:`MetalArtefactCT` of entries of an item."""

    array_form = MetalArtefactCT


def implanted(site: torch.Tensor, implants: Sequence[Parameters], spacing: Sequence[float]) -> torch.Tensor:
    """The share of metal in each voxel, 0..1.

    Args:
        site: ``(X, Y[, Z])`` bool, the voxels that may be the centre of an implant.
        implants: ``place`` (0..1 of these voxels, in their order), ``radius_mm``, ``height_mm``.
        spacing: mm.
    """
    filled = torch.zeros(site.shape, device=site.device)
    places = site.nonzero()
    if not len(places):
        return filled
    indices = torch.meshgrid(*(torch.arange(length, device=site.device) for length in site.shape), indexing="ij")
    for implant in implants:
        centre = places[min(int(implant["place"] * len(places)), len(places) - 1)]
        offsets = [(index - middle) * step for index, middle, step in zip(indices, centre, spacing, strict=True)]
        aside = torch.hypot(offsets[0], offsets[1])
        cylinder = ((implant["radius_mm"] - aside) / min(spacing[:2]) + 0.5).clamp(0, 1)
        if len(offsets) == 3:
            cylinder = cylinder * ((implant["height_mm"] / 2 - offsets[2].abs()) / spacing[2] + 0.5).clamp(0, 1)
        filled = torch.maximum(filled, cylinder)
    return filled


def as_water(hidden: np.ndarray) -> np.ndarray:
    """The water, in mm, that attenuates the whole spectrum as much: the correction of beam hardening.

    Args:
        hidden: minus the logarithm of the share of photons that come through; below 0 it is carried on as a line.
    """
    water = np.arange(0, LONGEST + 1.0)
    passed = np.array(SPECTRUM) @ np.exp(-np.outer(WATER_AT, water))
    table = -np.log(passed)
    below = np.minimum(hidden, 0) / table[1]
    return np.interp(hidden, table, water) + below
