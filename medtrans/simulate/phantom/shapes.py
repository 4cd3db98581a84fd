"""Signed distances in mm (negative inside) to the simple bodies from which the head is built, and how they combine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

Point = tuple[float, ...]  # x, y, z in mm
Box = tuple[Point, Point]  # lower and upper corner
EVERYWHERE: Box = ((-math.inf,) * 3, (math.inf,) * 3)


class Place(Protocol):
    """Where distances are wanted: head coordinates in mm (right, front, top positive) and the fields there."""

    @property
    def x(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def y(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def z(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def abs_x(self) -> torch.Tensor: ...  # noqa: D102
    def __getitem__(self, name: str) -> torch.Tensor: ...


def ellipsoid(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, centre: Point, radii: Point) -> torch.Tensor:
    """Distance to an axis-aligned ellipsoid, first order: exact on the surface, good to a few per cent near it."""
    u, v, w = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1], (z - centre[2]) / radii[2]
    level = (u * u).addcmul_(v, v).addcmul_(w, w).sqrt_().clamp_(min=1e-4)
    u.div_(radii[0]), v.div_(radii[1]), w.div_(radii[2])
    slope = u.mul_(u).addcmul_(v, v).addcmul_(w, w).sqrt_().clamp_(min=1e-6)
    return (level - 1).mul_(level).div_(slope)


def capsule(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, start: Point, end: Point, radius: float, end_radius: float | None
) -> torch.Tensor:
    """Distance to a rod with round ends whose radius runs from ``radius`` to ``end_radius`` (default: the same)."""
    along = [b - a for a, b in zip(start, end, strict=True)]
    square = sum(component * component for component in along)
    u, v, w = x - start[0], y - start[1], z - start[2]
    share = (u * (along[0] / square)).add_(v, alpha=along[1] / square).add_(w, alpha=along[2] / square).clamp_(0, 1)
    for offset, component in zip((u, v, w), along, strict=True):
        offset.sub_(share, alpha=component)
    distance = u.mul_(u).addcmul_(v, v).addcmul_(w, w).sqrt_().sub_(radius)
    return distance if end_radius is None else distance.sub_(share, alpha=end_radius - radius)


def smooth_min(a: torch.Tensor, b: torch.Tensor, blend: float) -> torch.Tensor:
    """Union of two distances with a fillet of about ``blend`` mm (Quilez' polynomial smooth minimum)."""
    share = (b - a).mul_(0.5 / blend).add_(0.5).clamp_(0, 1)
    return torch.lerp(b, a, share).sub_(share.mul(1 - share), alpha=blend)


def smooth_max(a: torch.Tensor, b: torch.Tensor, blend: float) -> torch.Tensor:
    """Intersection of two distances with a rounded edge of about ``blend`` mm."""
    return -smooth_min(-a, -b, blend)


@dataclass(frozen=True)
class Shape:
    """A body: signed distance and bounds; ``|``, ``&`` and ``-`` combine two, :meth:`grown` moves the surface."""

    def distance(self, place: Place) -> torch.Tensor:
        """Signed distance in mm at every point of ``place``, negative inside."""
        raise NotImplementedError

    def bounds(self) -> Box:
        """Lower and upper corner in head coordinates (mm) of a box that holds the body."""
        raise NotImplementedError

    def __or__(self, other: Shape) -> Union:
        return Union(self, other)

    def __and__(self, other: Shape) -> Intersection:
        return Intersection(self, other)

    def __sub__(self, other: Shape) -> Intersection:
        return Intersection(self, Complement(other))

    def grown(self, by: float) -> Shape:
        """The body with its surface moved outwards by ``by`` mm (inwards where negative)."""
        return Grown(self, by)


@dataclass(frozen=True)
class Ellipsoid(Shape):
    """Axis-aligned ellipsoid; ``paired`` puts its mirror image on the other side of the head."""

    centre: Point
    radii: Point
    paired: bool = False

    def distance(self, place: Place) -> torch.Tensor:
        """See :func:`ellipsoid`."""
        return ellipsoid(place.abs_x if self.paired else place.x, place.y, place.z, self.centre, self.radii)

    def bounds(self) -> Box:
        """Its extent."""
        lower, upper = zip(*((c - r, c + r) for c, r in zip(self.centre, self.radii, strict=True)), strict=True)
        return _mirrored((lower, upper)) if self.paired else (lower, upper)


@dataclass(frozen=True)
class Capsule(Shape):
    """Rod with round ends; ``paired`` puts its mirror image on the other side of the head."""

    start: Point
    end: Point
    radius: float
    end_radius: float | None = None
    paired: bool = False

    def distance(self, place: Place) -> torch.Tensor:
        """See :func:`capsule`."""
        x = place.abs_x if self.paired else place.x
        return capsule(x, place.y, place.z, self.start, self.end, self.radius, self.end_radius)

    def bounds(self) -> Box:
        """Its extent."""
        thickest = max(self.radius, self.end_radius or 0.0)
        lower = tuple(min(a, b) - thickest for a, b in zip(self.start, self.end, strict=True))
        upper = tuple(max(a, b) + thickest for a, b in zip(self.start, self.end, strict=True))
        return _mirrored((lower, upper)) if self.paired else (lower, upper)


@dataclass(frozen=True)
class Implicit(Shape):
    """Any distance function, for what no simple body describes; ``within`` bounds it."""

    function: Callable[[Place], torch.Tensor]
    within: Box = EVERYWHERE

    def distance(self, place: Place) -> torch.Tensor:
        """The function's value."""
        return self.function(place)

    def bounds(self) -> Box:
        """As given."""
        return self.within


def inside(surface: str, by: float = 0.0) -> Implicit:
    """The body within the head surface ``surface`` (``"skin"``, ``"skull"``, ``"dura"`` …), at least ``by`` mm deep."""
    return Implicit(lambda place: place[surface] + by)


def above(z: float) -> Implicit:
    """Everything above the plane ``z`` (mm)."""
    return Implicit(lambda place: z - place.z)


@dataclass(frozen=True)
class Union(Shape):
    """Either body; ``blend`` mm of fillet where they meet."""

    first: Shape
    second: Shape
    blend: float = field(default=0.0)

    def blended(self, blend: float) -> Union:
        """The same union with a fillet of ``blend`` mm."""
        return replace(self, blend=blend)

    def distance(self, place: Place) -> torch.Tensor:
        """Minimum of the two distances."""
        a, b = self.first.distance(place), self.second.distance(place)
        return smooth_min(a, b, self.blend) if self.blend else torch.minimum(a, b)

    def bounds(self) -> Box:
        """The hull of both."""
        return _combined(self.first.bounds(), self.second.bounds(), min, max)


@dataclass(frozen=True)
class Intersection(Shape):
    """What both bodies share."""

    first: Shape
    second: Shape

    def distance(self, place: Place) -> torch.Tensor:
        """Maximum of the two distances."""
        return torch.maximum(self.first.distance(place), self.second.distance(place))

    def bounds(self) -> Box:
        """Where both are."""
        return _combined(self.first.bounds(), self.second.bounds(), max, min)


@dataclass(frozen=True)
class Complement(Shape):
    """Everything but the body."""

    body: Shape

    def distance(self, place: Place) -> torch.Tensor:
        """The negative distance."""
        return -self.body.distance(place)

    def bounds(self) -> Box:
        """No bounds."""
        return EVERYWHERE


@dataclass(frozen=True)
class Grown(Shape):
    """The body with its surface moved outwards by ``by`` mm."""

    body: Shape
    by: float

    def distance(self, place: Place) -> torch.Tensor:
        """The distance less the growth."""
        return self.body.distance(place) - self.by

    def bounds(self) -> Box:
        """The body's, wider by the growth."""
        lower, upper = self.body.bounds()
        return tuple(c - self.by for c in lower), tuple(c + self.by for c in upper)


def _mirrored(box: Box) -> Box:
    """The hull of a box and its mirror image."""
    (_, *lower), (right, *upper) = box
    return (-right, *lower), (right, *upper)


def _combined(a: Box, b: Box, for_lower: Callable, for_upper: Callable) -> Box:
    """Two boxes joined corner by corner."""
    return tuple(map(for_lower, a[0], b[0])), tuple(map(for_upper, a[1], b[1]))
