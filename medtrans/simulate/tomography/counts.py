"""How many coincidences a PET scan counts, in which bins of the sinogram, and which are left of a shorter scan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from medtrans.simulate.tomography.projector import ParallelBeam

MM3_IN_ML = 1000.0
CM_IN_MM = 10.0
SCATTER_WIDTH = 150.0  # mm, full width at half maximum: how far scatter spreads across a view


@dataclass(frozen=True)
class Coincidences:
    """What a sinogram is expected to hold at 100 % of the time; bins are ``(C, views, bins, Z)``.

    Args:
        factor: true coincidences for each value·mm of the activity's line integral, attenuation included.
        trues: expected true coincidences.
        background: expected scatter and randoms.
    """

    factor: torch.Tensor
    trues: torch.Tensor
    background: torch.Tensor

    @property
    def prompts(self) -> torch.Tensor:
        """All expected coincidences."""
        return self.trues + self.background


def expected_coincidences(
    beam: ParallelBeam,
    activity: torch.Tensor,
    attenuation: torch.Tensor | None,
    per_content: float,
    scatter_fraction: float,
    randoms_fraction: float,
) -> Coincidences:
    """The mean sinogram of a scan.

    Trues are the line integrals of activity behind ``exp(-line integral of µ)``. Scatter is their shape, widened to
    150 mm across each view, as broad and low as single scatter is; randoms are the same in all bins of a slice.

    Args:
        beam: the geometry.
        activity: ``(C, X, Y, Z)``, 0 or more.
        attenuation: ``(1 or C, X, Y, Z)`` in 1/cm; None attenuates nothing.
        per_content: true coincidences of a slice for each value·mm² of its content, without attenuation.
        scatter_fraction: of trues and scatter, S / (T + S).
        randoms_fraction: of all prompts, R / (T + S + R).
    """
    line_integrals = beam.project(activity)
    factor = torch.full_like(line_integrals[:1], per_content * beam.bin_mm / len(beam.angles))
    if attenuation is not None:
        factor = factor * torch.exp(-beam.project(attenuation) / CM_IN_MM)
    trues = factor * line_integrals
    scatter = _widened(beam, trues) * (scatter_fraction / (1 - scatter_fraction))
    in_slice = (trues + scatter).sum((1, 2), keepdim=True)
    randoms = in_slice * (randoms_fraction / (1 - randoms_fraction) / (beam.sinogram_shape[0] * beam.bins))
    return Coincidences(factor, trues, scatter + randoms)


def coincidences_per_content(settings: Mapping[str, Any], slice_mm: float) -> float:
    """True coincidences without attenuation for each value·mm² of a slice's content, at 100 % of the time.

    ``sensitivity · mean activity concentration a value · slice thickness · time``: activity in kBq decays from
    injection (SUV) or from the start of the scan (concentrations) on, and over the acquisition.

    Args:
        settings: as a low-count PET draws them: ``unit``, ``dose_mbq``, ``weight_kg``, ``uptake_min``,
            ``acquisition_s``, ``half_life_min`` and ``sensitivity_cps_kbq``.
        slice_mm: thickness of the slice.
    """
    decay = math.log(2) / (60 * settings["half_life_min"])  # 1/s
    seconds = -math.expm1(-decay * settings["acquisition_s"]) / decay
    if settings["unit"] == "SUV":  # a tissue of 1 g/ml with the body's mean concentration has SUV 1
        remaining = math.exp(-decay * 60 * settings["uptake_min"])
        kbq_ml = settings["dose_mbq"] / settings["weight_kg"] * remaining
    else:
        kbq_ml = {"Bq/ml": 1e-3, "kBq/ml": 1.0}[settings["unit"]]
    return settings["sensitivity_cps_kbq"] * seconds * kbq_ml * slice_mm / MM3_IN_ML


def thinned(counts: torch.Tensor, fraction: float, source: torch.Generator) -> torch.Tensor:
    """The counts of a shorter scan: each coincidence is kept with probability ``fraction``, by itself.

    What is left of Poisson counts is Poisson, with ``fraction`` of the mean.

    Args:
        counts: whole numbers, float32, on the CPU.
        fraction: 0..1; 1 keeps all and draws nothing.
        source: of randomness, on the CPU.
    """
    if fraction >= 1:
        return counts
    return torch.binomial(counts, torch.full_like(counts, fraction), generator=source)


def _widened(beam: ParallelBeam, sinogram: torch.Tensor) -> torch.Tensor:
    """Each view convolved with a Gaussian across its bins, none of it lost."""
    at = beam.distances()
    spread = torch.exp(-4 * math.log(2) * ((at[:, None] - at) / SCATTER_WIDTH) ** 2)
    return torch.einsum("ij,cvjz->cviz", spread / spread.sum(0, keepdim=True), sinogram)
