"""Low-dose CT: the noise of fewer photons, drawn in the projections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from medtrans.simulate.degradation import Degradationd, Parameters, Range, limits, noise_source
from medtrans.simulate.tomography.ct import FLOOR, PHOTONS, WATER, CTDegradation, photons_per_ray
from medtrans.simulate.tomography.projector import ParallelBeam


class LowDoseCT(CTDegradation):
    """A CT scan as if taken at a lower tube current-time product.

    A ray of the reference scan counts ``N = I0 exp(-p)`` photons. The given scan already has their noise, so only what
    a lower dose adds is drawn: the scatter of a binomial share ``f = mAs / reference`` of N photons, and the part
    of the electronic noise that the lower signal no longer hides. After the logarithm the added variance is, to first
    order, ``(1/f - 1) / N + (1/f² - 1) electronic² / N²`` (Yu et al., J. Comput. Assist. Tomogr. 36:489, 2012; Žabić et
    al., Med. Phys. 40:031102, 2013); where counts are few, the exact counts and their logarithm make the bias and the
    streaks of photon starvation. Spectrum, scatter and the blur of detector and focus are left out.

    Args:
        mas: tube current-time product of the low dose, in mAs.
        reference_mas: of the given scan.
        photons: per mm² and mAs that the detector counts where nothing is in the way; with ray width, slice thickness
            and the number of views this gives I0, so that noise does not depend on how finely the scan is projected.
        photons_per_ray: I0 of the reference scan, instead of ``photons``.
        electronic: SD of a ray's reading without photons, in photons.
        bowtie: mm, diameter of the water cylinder behind which the filter makes all rays alike; 0 for none.
        noise_free: the given scan has no noise of its own (a phantom); the whole noise of the low dose is drawn.
        slice_mm: thickness of a 2D image; None takes the step across it where an item says that, and 1 mm otherwise. A
            volume says it itself.
        views, window: see :class:`~medtrans.simulate.tomography.ct.CTDegradation`.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self,
        mas: Range = (15.0, 75.0),
        reference_mas: float = 300.0,
        photons: float = PHOTONS,
        photons_per_ray: float | None = None,
        electronic: float = 10.0,
        bowtie: float = 0.0,
        noise_free: bool = False,
        slice_mm: float | None = None,
        views: int | None = None,
        window: str = "hann",
    ) -> None:
        super().__init__(views, window)
        low, high = limits(mas)
        if low <= 0 or (high > reference_mas and not noise_free):
            raise ValueError(f"a dose lies above 0 and not above the {reference_mas} mAs of the scan, got {mas} mAs")
        if min(value for value in (photons, slice_mm, photons_per_ray) if value is not None) <= 0:
            raise ValueError(f"photons and slice_mm are above 0, got {photons}, {photons_per_ray} and {slice_mm}")
        if min(electronic, bowtie) < 0:
            raise ValueError(f"electronic noise and bow-tie are 0 or more, got {electronic} and {bowtie}")
        self.mas, self.reference_mas, self.photons, self.photons_per_ray = mas, reference_mas, photons, photons_per_ray
        self.electronic, self.bowtie, self.noise_free, self.slice_mm = electronic, bowtie, noise_free, slice_mm

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """mAs, and the photons of a ray at the reference."""
        scan = self.reference(shape)
        photons = self.photons_per_ray or photons_per_ray(
            spacing, scan["views"], self.reference_mas, self.photons, self.thickness()
        )
        return scan | {
            "mas": self.between(self.mas),
            "reference_mas": self.reference_mas,
            "photons_per_ray": photons,
            "electronic_photons": self.electronic,
            "bowtie_mm": self.bowtie,
            "noise_free": self.noise_free,
            "seed": self.new_seed(),
        }

    def change(
        self, attenuation: torch.Tensor, first: int, beam: ParallelBeam, parameters: Parameters, **beside: torch.Tensor
    ) -> torch.Tensor:
        """The noise that the low dose adds to each ray's line integral."""
        open_field = parameters["photons_per_ray"] * bowtie_filter(beam, parameters["bowtie_mm"])
        counts = open_field[:, None] * torch.exp(-beam.project(attenuation))
        share = parameters["mas"] / parameters["reference_mas"]
        source = noise_source({"seed": parameters["seed"] + first})  # of these slices
        read = low_counts(counts.cpu(), share, parameters["electronic_photons"], parameters["noise_free"], source)
        expected = share * counts
        return torch.log(expected / read.to(counts).clamp_min(FLOOR))


class LowDoseCTd(Degradationd):
    """:class:`LowDoseCT` of entries of an item."""

    array_form = LowDoseCT


def low_counts(
    counts: torch.Tensor, share: float, electronic: float, noise_free: bool, source: torch.Generator
) -> torch.Tensor:
    """What rays read at a share of the photons.

    Args:
        counts: expected photons a ray at the reference dose.
        share: of the dose, up to 1 (more only if ``noise_free``).
        electronic: SD of a reading, in photons.
        noise_free: draw all noise; otherwise only what is added to the noise of the reference.
        source: of randomness.

    Returns:
        Readings in photons, of mean ``share * counts``; readings below 0 happen.
    """
    counts = counts.double()
    expected = share * counts
    jitter = torch.randn(counts.shape, generator=source, dtype=torch.float64)
    if noise_free:
        return torch.poisson(expected, generator=source) + electronic * jitter
    whole = torch.floor(counts + torch.rand(counts.shape, generator=source, dtype=torch.float64))
    shares = torch.full_like(whole, share)
    kept = torch.binomial(whole, shares, generator=source)
    return expected + (kept - share * whole) + electronic * math.sqrt(1 - share**2) * jitter


def bowtie_filter(beam: ParallelBeam, diameter: float) -> torch.Tensor:
    """What each bin gets of the open field, ``(bins,)``: all rays meet as much water, filter and all."""
    chord = 2 * torch.sqrt((diameter**2 / 4 - beam.distances() ** 2).clamp_min(0))
    return torch.exp(-WATER * (diameter - chord))
