"""What makes one head differ from the next: size, pose, thicknesses, ventricles, folding, and where a lesion sits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from medtrans.simulate.phantom.shapes import Point


@dataclass(frozen=True)
class Individual:
    """The measures of one head (mm unless said otherwise).

    Args:
        scale: size along x, y, z relative to the average head.
        rotation: pose in the scanner, degrees about x, y, z.
        shift: position in the scanner.
        ventricles: volume factor of the ventricles.
        subdural: width of the fluid between brain and skull.
        skull: mean thickness of the skull.
        scalp_fat: thickness of the fat beneath the scalp.
        sulci: width factor of the sulci, 0..1.
        cortex: thickness of the cortex.
        folding: wavelength factor of the sulci.
        taper: how much narrower the forehead is than the parietal head.
    """

    scale: Point
    rotation: Point
    shift: Point
    ventricles: float
    subdural: float
    skull: float
    scalp_fat: float
    sulci: float
    cortex: float
    folding: float
    taper: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Individual:
        """One head of the population."""
        return cls(
            scale=(rng.uniform(0.94, 1.05), rng.uniform(0.94, 1.05), rng.uniform(0.95, 1.05)),
            rotation=(rng.uniform(-5, 5), rng.uniform(-4, 4), rng.uniform(-5, 5)),
            shift=(rng.uniform(-3, 3), rng.uniform(-5, 1), rng.uniform(-3, 4)),
            ventricles=rng.uniform(0.75, 1.7),
            subdural=rng.uniform(0.6, 2.4),
            skull=rng.uniform(4.5, 7.5),
            scalp_fat=rng.uniform(2.0, 6.0),
            sulci=rng.uniform(0.3, 1.1),
            cortex=rng.uniform(2.4, 3.1),
            folding=rng.uniform(0.85, 1.15),
            taper=rng.uniform(0.05, 0.16),
        )

    def to_head(self) -> torch.Tensor:
        """The matrix (3, 3) that takes world offsets from :attr:`shift` to head coordinates, before warping."""
        a, b, c = (math.radians(angle) for angle in self.rotation)
        about_x = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
        about_y = [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
        about_z = [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
        turned = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
        return torch.from_numpy(np.diag(1 / np.array(self.scale)) @ turned).float()


@dataclass(frozen=True)
class Lesion:
    """A ring-enhancing lesion with oedema in the white matter around it.

    Args:
        centre: head coordinates in mm (right, front, top positive, about the middle of the head).
        radii: semi-axes in mm.
        roughness: how far the border strays from the ellipsoid, mm (standard deviation).
    """

    centre: Point
    radii: Point
    roughness: float = 2.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Lesion:
        """A lesion of 7 to 15 mm radius somewhere in a cerebral hemisphere."""
        side = -1.0 if rng.uniform() < 0.5 else 1.0
        radius = rng.uniform(7, 15)
        return cls(
            centre=(side * rng.uniform(20, 40), rng.uniform(-50, 38), rng.uniform(12, 44)),
            radii=tuple(radius * rng.uniform(0.8, 1.2) for _ in range(3)),
        )


#: share of the subjects that get a lesion when neither wanted nor refused
LESION_SHARE = 0.35


def chosen_lesion(wanted: Lesion | bool | None, rng: np.random.Generator) -> Lesion | None:
    """The lesion of one subject: the one given, a random one (True), none (False), or left to chance (None)."""
    by_chance, drawn = rng.uniform() < LESION_SHARE, Lesion.draw(rng)
    if isinstance(wanted, Lesion):
        return wanted
    return drawn if (by_chance if wanted is None else wanted) else None
