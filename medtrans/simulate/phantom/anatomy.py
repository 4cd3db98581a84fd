"""One head: its individual measures, its warped coordinate frame, its fields, and its layers from skin to lesion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from medtrans.simulate.phantom.canvas import Canvas, Layer, Region, Slices
from medtrans.simulate.phantom.cerebrum import Cerebrum, Folds
from medtrans.simulate.phantom.deep_brain import deep_brain, hindbrain
from medtrans.simulate.phantom.face import eyes, face
from medtrans.simulate.phantom.fields import HALF_EXTENT, Field, covering, smooth_field, stream
from medtrans.simulate.phantom.grid import Grid
from medtrans.simulate.phantom.individual import Individual, Lesion, chosen_lesion
from medtrans.simulate.phantom.pathology import lesion
from medtrans.simulate.phantom.scalp import scalp, skull, spine
from medtrans.simulate.phantom.shapes import Box
from medtrans.simulate.phantom.surfaces import large_surfaces

# Random fields by name: smoothing and distance of the nodes in mm. Those read by the layers, and the images' textures.
FIELDS = {
    "thickness": (22.0, 5.0),
    "scalp": (9.0, 4.0),
    "pores": (2.2, 2.0),
    "fascia": (5.0, 3.0),
    "folding up": (11.0, 5.0),
    "folding front": (11.0, 5.0),
    "lesion border": (5.0, 3.0),
    "texture": (6.0, 3.0),
    "metabolism": (16.0, 5.0),
}
WARPS = ((26.0, 3.0), (12.0, 0.66))  # smoothing in mm and standard deviation in mm of the displacement
FRAME = ("x", "y", "z")
MARGIN = 3.0  # mm around a structure's bounds: half a voxel and the blur of a border
SURFACE_SLAB = 8  # planes of the surface lattice computed at once

WorldBox = tuple[list[float], list[float]]  # lower and upper corner, mm


class Anatomy:
    """The anatomy of one person, to be painted on any grid.

    Args:
        seed: who it is.
        wanted_lesion: a lesion, True or False, or None to leave it to chance.
    """

    def __init__(self, seed: int, wanted_lesion: Lesion | bool | None = None) -> None:
        self.seed = seed
        self.individual = Individual.draw(stream(seed, "individual"))
        self.lesion = chosen_lesion(wanted_lesion, stream(seed, "lesion"))
        self.fields = {name: smooth_field(sigma, stream(seed, name), step) for name, (sigma, step) in FIELDS.items()}
        self._warps = [self._warp(axis) for axis in FRAME]
        self._to_head, self._shift = self.individual.to_head(), torch.tensor(self.individual.shift)
        self.layers = self._layers()
        self._boxes = [self.world_box(layer.bounds()) for layer in self.layers]

    def _warp(self, axis: str) -> Field:
        """Displacement (mm) of the head frame along one axis, so that no two heads are ellipsoids."""
        axes = covering(HALF_EXTENT, 5.0)
        nodes = [a.nodes for a in axes]
        parts = [smooth_field(s, stream(self.seed, f"warp {axis} {s}"), 0.4 * s).at(nodes) * sd for s, sd in WARPS]
        return Field(axes, sum(parts))  # type: ignore[arg-type]

    def _layers(self) -> tuple[Layer, ...]:
        """Everything there is to paint, from the outside in."""
        person = self.individual
        cerebrum = Cerebrum(person, Folds.draw(person, stream(self.seed, "folds")))
        outer: tuple[Layer, ...] = (*scalp(person), *face(), *eyes(), *spine(), *skull())
        inner: tuple[Layer, ...] = (cerebrum, *deep_brain(person), *hindbrain(person))
        return (*outer, *inner, *(lesion(self.lesion) if self.lesion else ()))

    def head_coordinates(self, world: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Head coordinates x, y, z (mm) on the grid spanned by three vectors of world coordinates (mm)."""
        offsets = [along - shift for along, shift in zip(world, self._shift, strict=True)]
        x, y, z = (offset.view([-1 if i == axis else 1 for i in range(3)]) for axis, offset in enumerate(offsets))
        return [
            warp.at(world) + row[0] * x + row[1] * y + row[2] * z
            for warp, row in zip(self._warps, self._to_head, strict=True)
        ]

    def fields_for(self, grid: Grid, pool: ThreadPoolExecutor) -> dict[str, Field]:
        """The random fields, the head frame and the large surfaces, ready to be read anywhere in ``grid``."""
        step = max(2.0, 1.6 * max(grid.spacing))
        halves = [n * s / 2 for n, s in zip(grid.shape, grid.spacing, strict=True)]
        axes = covering(halves, step)
        nodes = [axis.nodes for axis in axes]

        def slab(planes: torch.Tensor) -> dict[str, torch.Tensor]:
            world = (planes, *nodes[1:])
            frame = dict(zip(FRAME, self.head_coordinates(world), strict=True))
            region = Region(lambda name: frame[name] if name in frame else self.fields[name].at(world))
            return frame | large_surfaces(region, self.individual)

        slabs = list(pool.map(slab, nodes[0].split(SURFACE_SLAB)))
        return self.fields | {name: Field(axes, torch.cat([part[name] for part in slabs])) for name in slabs[0]}

    def paint(
        self, coordinates: Sequence[torch.Tensor], voxel: float, fields: dict[str, Field]
    ) -> tuple[Canvas, Region]:
        """Paint every layer on a block of voxels.

        Args:
            coordinates: world coordinates (mm) of the voxel centres along the three axes.
            voxel: size of a voxel in mm.
            fields: from :meth:`fields_for`.

        Returns:
            The canvas, and the region for whoever wants to know more about its voxels.
        """
        region = Region(lambda name: fields[name].at(coordinates))
        canvas = Canvas.blank([len(along) for along in coordinates], voxel)
        for layer, box in zip(self.layers, self._boxes, strict=True):
            block = _block(box, coordinates)
            if block is not None:
                layer.paint(canvas.block(block), region.part(block))
        return canvas, region

    def world_box(self, bounds: Box) -> WorldBox:
        """Corners (world mm) of a box that holds all points whose head coordinates lie in ``bounds``."""
        limit = 200.0  # mm, beyond every field of view
        lower, upper = (
            torch.tensor([min(max(c, -limit), limit) for c in corner], dtype=torch.float32) for corner in bounds
        )
        inverse = torch.linalg.inv(self._to_head)

        def hull(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            centre, half = inverse @ ((low + high) / 2) + self._shift, inverse.abs() @ ((high - low) / 2) + MARGIN
            return centre - half, centre + half

        rough = hull(lower - 12, upper + 12)  # no displacement is larger
        displaced = [self._range(warp, rough) for warp in self._warps]
        least, most = (torch.tensor(side) for side in zip(*displaced, strict=True))
        low, high = hull(lower - most, upper - least)
        return low.tolist(), high.tolist()

    @staticmethod
    def _range(warp: Field, box: tuple[torch.Tensor, torch.Tensor]) -> tuple[float, float]:
        """Least and largest displacement in a world box."""
        slices = []
        for axis, low, high in zip(warp.axes, *box, strict=True):
            first = min(max(math.floor((float(low) - axis.start) / axis.step), 0), axis.count - 1)
            slices.append(slice(first, max(math.ceil((float(high) - axis.start) / axis.step) + 1, first + 1)))
        within = warp.values[tuple(slices)]
        return float(within.min()), float(within.max())


def _block(box: WorldBox, coordinates: Sequence[torch.Tensor]) -> Slices | None:
    """The part of a block of voxels that lies in ``box``, or None where none does."""
    slices = []
    for low, high, along in zip(*box, coordinates, strict=True):
        first, last = torch.searchsorted(along, torch.tensor([low, high])).tolist()
        if first == last:
            return None
        slices.append(slice(first, last))
    return tuple(slices)  # type: ignore[return-value]
