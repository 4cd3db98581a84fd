"""The canvas on which anatomy is painted: every voxel keeps its two main tissues and their shares (partial volume)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from medtrans.simulate.phantom.shapes import Box, Shape
from medtrans.simulate.phantom.tissues import LABELS

Slices = tuple[slice, slice, slice]
WHOLE: Slices = (slice(None),) * 3  # type: ignore[assignment]


class Region:
    """A block of voxels: head coordinates x, y, z (mm) and, by name, surfaces and random fields at its points."""

    def __init__(self, look_up: Callable[[str], torch.Tensor]) -> None:
        self._look_up = look_up
        self._known: dict[str, torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._known:
            self._known[name] = self._look_up(name)
        return self._known[name]

    @property
    def x(self) -> torch.Tensor:
        """Millimetres to the right of the middle plane."""
        return self["x"]

    @property
    def y(self) -> torch.Tensor:
        """Millimetres to the front."""
        return self["y"]

    @property
    def z(self) -> torch.Tensor:
        """Millimetres to the top."""
        return self["z"]

    @property
    def abs_x(self) -> torch.Tensor:
        """Millimetres from the middle plane."""
        if "abs_x" not in self._known:
            self._known["abs_x"] = self.x.abs()
        return self._known["abs_x"]

    def part(self, block: Slices) -> Region:
        """The region of a block of this one's voxels."""
        return Region(lambda name: self[name][block].contiguous())


class Layer(Protocol):
    """Something that paints itself, after the layers below it."""

    def bounds(self) -> Box:
        """A box in head coordinates (mm) that holds it."""
        ...

    def paint(self, canvas: Canvas, region: Region) -> None:
        """Put it on ``canvas``, whose voxels are those of ``region``."""
        ...


@dataclass(frozen=True)
class Structure:
    """One layer of paint: what is inside ``shape`` becomes ``tissue``.

    Args:
        name: the anatomical structure, for the reader.
        tissue: a key of :data:`~medtrans.simulate.phantom.tissues.TISSUES`.
        shape: the body.
        share: part of the voxel that turns into the tissue, 0..1: a number, or a function of region and canvas.
        blur: width of the border in mm; default a voxel, wider where a border is truly gradual.
    """

    name: str
    tissue: str
    shape: Shape
    share: float | Callable[[Region, Canvas], torch.Tensor] = 1.0
    blur: float | None = None

    def bounds(self) -> Box:
        """A box in head coordinates (mm) that holds the structure."""
        return self.shape.bounds()

    def paint(self, canvas: Canvas, region: Region) -> None:
        """Put it on ``canvas``, whose voxels are those of ``region``."""
        share = self.share(region, canvas) if callable(self.share) else self.share
        canvas.paint(self.tissue, self.shape.distance(region), share, self.blur)


@dataclass
class Canvas:
    """Two tissues a voxel.

    Args:
        main: label of the tissue painted last, uint8.
        rest: label of what it left over, uint8.
        share: part of the voxel that ``main`` fills, 0..1.
        voxel: voxel size in mm, the width over which a border is mixed.
    """

    main: torch.Tensor
    rest: torch.Tensor
    share: torch.Tensor
    voxel: float

    @classmethod
    def blank(cls, shape: Sequence[int], voxel: float) -> Canvas:
        """Nothing but air."""
        main = torch.zeros(tuple(shape), dtype=torch.uint8)
        return cls(main, main.clone(), torch.ones(tuple(shape)), voxel)

    def block(self, block: Slices) -> Canvas:
        """A window on part of this canvas: painting there paints here."""
        return Canvas(self.main[block], self.rest[block], self.share[block], self.voxel)

    def paint(
        self, tissue: str, distance: torch.Tensor, share: float | torch.Tensor = 1.0, blur: float | None = None
    ) -> None:
        """Cover what is inside a surface.

        Args:
            tissue: name of the tissue.
            distance: signed distance to the surface in mm, negative inside; shape of the canvas.
            share: part of the covered volume that turns into the tissue, 0..1; a number or one a voxel.
            blur: width of the border in mm, default the voxel size.
        """
        label, width = LABELS[tissue], blur or self.voxel
        partly = distance < width / 2
        if isinstance(share, float) and share == 1.0:
            wholly = distance <= -width / 2
            self.main.masked_fill_(wholly, label)
            self.share.masked_fill_(wholly, 1.0)
            partly ^= wholly
        at = partly.nonzero(as_tuple=True)
        if at[0].numel() == 0:
            return
        covered = (0.5 - distance[at] / width).clamp_(0, 1)
        covered *= share[at] if isinstance(share, torch.Tensor) else share
        if isinstance(share, torch.Tensor):  # what is not touched keeps its mixture
            touched = covered > 0.02
            at, covered = tuple(index[touched] for index in at), covered[touched]
        before = self.main[at]
        self.rest[at] = torch.where(self.share[at] >= 0.5, before, self.rest[at])
        self.main[at] = torch.full_like(before, label)
        self.share[at] = covered

    def mostly(self) -> torch.Tensor:
        """The label of the tissue that fills most of each voxel, uint8."""
        return torch.where(self.share >= 0.5, self.main, self.rest)
