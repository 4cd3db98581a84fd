"""A lesion: necrotic core, active rim, and oedema that spreads in the white matter."""

from __future__ import annotations

import torch

from medtrans.simulate.phantom.canvas import Canvas, Region, Structure
from medtrans.simulate.phantom.individual import Lesion
from medtrans.simulate.phantom.shapes import Ellipsoid, Implicit, Place
from medtrans.simulate.phantom.tissues import LABELS

#: the tissues of which the ``lesion`` mask consists (oedema is a reaction, not the lesion)
LESION_TISSUES = ("lesion core", "lesion rim")
INFILTRATED = ("white matter", "grey matter", "deep grey matter", "oedema", "lesion rim")


def _in(canvas: Canvas, tissues: tuple[str, ...]) -> torch.Tensor:
    """Which voxels show one of ``tissues`` most recently painted."""
    return torch.isin(canvas.main, torch.tensor([LABELS[name] for name in tissues], dtype=torch.uint8))


def lesion(given: Lesion) -> tuple[Structure, ...]:
    """The layers of one lesion, to be painted last."""
    radius = sum(given.radii) / 3
    rim_width = min(2.5, 0.4 * radius)
    body = Ellipsoid(given.centre, given.radii)

    def rough(place: Place) -> torch.Tensor:
        return body.distance(place) + given.roughness * place["lesion border"]

    def spread_in_white_matter(region: Region, canvas: Canvas) -> torch.Tensor:
        return 0.9 * _in(canvas, ("white matter",))

    def in_brain(region: Region, canvas: Canvas) -> torch.Tensor:
        return _in(canvas, INFILTRATED).float()

    border = Implicit(rough, within=body.grown(3 * given.roughness).bounds())
    return (
        Structure("oedema", "oedema", border.grown(0.5 * radius), share=spread_in_white_matter, blur=4.0),
        Structure("rim of the lesion", "lesion rim", border, share=in_brain),
        Structure("core of the lesion", "lesion core", border.grown(-rim_width), share=in_brain),
    )
