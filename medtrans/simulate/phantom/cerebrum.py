"""The cerebrum: hemispheres, fissures, and a folded cortex around the white matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from medtrans.simulate.phantom.canvas import Canvas, Region
from medtrans.simulate.phantom.fields import band_pass_cube, filtered_noise
from medtrans.simulate.phantom.individual import Individual
from medtrans.simulate.phantom.shapes import Box, Capsule, Ellipsoid
from medtrans.simulate.phantom.surfaces import petrous_ridge

CUBE_NODES, CUBE_STEP = 80, 3.0  # the periodic cube that holds the pattern of the sulci, nodes and mm a node
#: the core of each hemisphere, from which rays carry the pattern to the surface, and the half-axes of the hemisphere
CORE, CORE_RADII = (17.0, -4.0, 12.0), (50.0, 80.0, 58.0)
SUPRASELLAR_CISTERN = Ellipsoid((0, 14, -24), (17, 24, 15))
BRAINSTEM_CISTERN = Capsule((0, -12, -16), (0, -34, -62), 18, 15)


def _sheets(wavelength: float, rng: np.random.Generator) -> torch.Tensor:
    """Approximate signed distance (mm) to the zero sheets of band-pass noise, on the cube."""
    noise = band_pass_cube(CUBE_NODES, wavelength / CUBE_STEP, rng)
    slope = np.sqrt(sum(np.square(derivative) for derivative in np.gradient(noise)))
    return torch.from_numpy(noise / (slope + 0.3 * slope.mean()) * CUBE_STEP).float()


@dataclass(frozen=True)
class Folds:
    """The pattern of the sulci: distances to primary and secondary sheets, and how deep they reach; (3, n, n, n)."""

    pattern: torch.Tensor

    @classmethod
    def draw(cls, individual: Individual, rng: np.random.Generator) -> Folds:
        """The folds of one person."""
        reach = filtered_noise((CUBE_NODES,) * 3, lambda k: np.exp(-2 * (np.pi * 13 / CUBE_STEP * k) ** 2), rng)
        primary, secondary = (_sheets(wavelength * individual.folding, rng) for wavelength in (29.0, 19.0))
        return cls(torch.stack([primary, secondary, torch.from_numpy(reach).float()]))

    def at(self, region: Region) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Distance (mm) to the primary and the secondary sheets, and the reach (SD 1), at the points of ``region``.

        The pattern hardly changes along the rays from the core of the hemisphere, so that sulci go in at right angles.
        """
        side = torch.sign(region.x)
        from_core = (region.x - side * CORE[0], region.y - CORE[1], region.z - CORE[2])
        radius = sum((along / radii) ** 2 for along, radii in zip(from_core, CORE_RADII, strict=True))
        radius = radius.sqrt_().clamp_(min=0.22)  # type: ignore[union-attr]
        carried = 0.16 + 0.84 / radius
        half = CUBE_NODES * CUBE_STEP / 2
        points = torch.stack(
            [
                (from_core[2] * carried + 5 * region["folding up"]) / half,
                (from_core[1] * carried + 5 * region["folding front"]) / half,
                (from_core[0] * carried + side * 58 + 4 * region["folding up"]) / half,
            ],
            dim=-1,
        )
        sampled = F.grid_sample(
            self.pattern[None], points[None], mode="bilinear", padding_mode="reflection", align_corners=False
        )[0]
        stretched = radius.clamp_(max=1.1)  # nearer the core the same pattern is narrower
        return sampled[0] * stretched, sampled[1] * stretched, sampled[2]


@dataclass(frozen=True)
class Cerebrum:
    """The layer that paints grey matter, white matter and the falx."""

    individual: Individual
    folds: Folds

    def bounds(self) -> Box:
        """The hull of both hemispheres."""
        return (-74.0, -94.0, -48.0), (74.0, 86.0, 82.0)

    def paint(self, canvas: Canvas, region: Region) -> None:
        """Grey matter where the nearest fluid is within the thickness of the cortex, white matter deeper."""
        surface = self._surface(region)
        primary, secondary, reach = self.folds.at(region)
        sulci = self._sulci(-region["cerebrum"], primary, secondary, reach)
        fluid = torch.minimum(torch.minimum(-surface, sulci), self._fissures(region))
        canvas.paint("grey matter", -fluid)
        cortex = self.individual.cortex + 0.35 * reach
        canvas.paint("white matter", torch.maximum(cortex - fluid, surface + cortex))
        canvas.paint("dura", self._falx(region), share=0.9)

    def _surface(self, region: Region) -> torch.Tensor:
        """Distance to the hull, less the cisterns at the base and the petrous bone."""
        surface = torch.maximum(region["cerebrum"], -SUPRASELLAR_CISTERN.distance(region))
        surface = torch.maximum(surface, -BRAINSTEM_CISTERN.distance(region))
        return torch.maximum(surface, 1.2 - petrous_ridge(region))

    def _sulci(
        self, depth: torch.Tensor, primary: torch.Tensor, secondary: torch.Tensor, reach: torch.Tensor
    ) -> torch.Tensor:
        """Distance to the fluid in the sulci; negative in it. Sheets end at their reach and taper with depth."""
        width = self.individual.sulci
        deep = (primary**2 + (depth - (16 + 5 * reach).clamp(6, 25)).clamp(min=0) ** 2).sqrt()
        deep -= (0.25 + 0.55 * width) * (1.05 - depth / 34).clamp(0.25, 1)
        shallow = (secondary**2 + (depth - (6.5 + 3 * reach).clamp(2, 12)).clamp(min=0) ** 2).sqrt()
        return torch.minimum(deep, shallow - (0.05 + 0.40 * width))

    def _fissures(self, region: Region) -> torch.Tensor:
        """Distance to the fluid of the longitudinal and Sylvian fissures and over the insula."""
        width, y, z = self.individual.sulci, region.y, region.z
        above_callosum = ((1.12 - _callosal_level(region)).clamp(min=0) * 26) ** 2
        longitudinal = (region.x**2 + above_callosum).sqrt()
        below = region.abs_x + (y < 24) * 40.0
        longitudinal = torch.where(z < -6, below, longitudinal) - (0.6 + 0.5 * width)
        ends = ((y - 34).clamp(min=0) + (-40 - y).clamp(min=0)) ** 2
        sylvian = ((z + 3 - 0.26 * (y + 8)) ** 2 + (37 - region.abs_x).clamp(min=0) ** 2 + ends).sqrt()
        rim = ((z - 1).abs() - 11).clamp(min=0) ** 2 + ((y - 6).abs() - 20).clamp(min=0) ** 2
        insular = ((region.abs_x - 37) ** 2 + rim).sqrt()
        return torch.minimum(longitudinal, torch.minimum(sylvian - (0.8 + 0.7 * width), insular - (0.5 + 0.5 * width)))

    @staticmethod
    def _falx(region: Region) -> torch.Tensor:
        """Distance to the sheet of dura between the hemispheres, above the corpus callosum."""
        sheet = torch.maximum(region.abs_x - 0.5, 1.22 - _callosal_level(region))
        return torch.maximum(sheet, torch.maximum(region["dura"] + 0.5, -(region.z + 4)))


def _callosal_level(region: Region) -> torch.Tensor:
    """1 on the arc of the corpus callosum in the middle plane, more outside, less inside."""
    return (((region.y + 6) / 38) ** 2 + ((region.z - 4) / 25) ** 2).sqrt()
