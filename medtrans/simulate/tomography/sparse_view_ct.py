"""Sparse-view and limited-angle CT: streaks of views that were never taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medtrans.simulate.degradation import Degradationd, Parameters, Range, limits
from medtrans.simulate.tomography.ct import CTDegradation
from medtrans.simulate.tomography.projector import ParallelBeam


class SparseViewCT(CTDegradation):
    """A CT scan of fewer views, or of views over less than half a turn.

    The views that are kept weigh as much more as there are fewer; what filtered backprojection then makes of the scan,
    less what it makes of all views, is added to it.

    Args:
        kept: views over half a turn that are kept, rounded; all of them if there are no more.
        arc: degrees that the views cover, up to 180; the first view lies anywhere.
        views, window: see :class:`~medtrans.simulate.tomography.ct.CTDegradation`.

    Raises:
        ValueError: a setting is out of its range.
    """

    def __init__(
        self, kept: Range = (30.0, 90.0), arc: Range = 180.0, views: int | None = None, window: str = "hann"
    ) -> None:
        super().__init__(views, window)
        if limits(kept)[0] < 2:
            raise ValueError(f"2 views are the fewest, got {kept}")
        if not (limits(arc)[0] > 0 and limits(arc)[1] <= 180):
            raise ValueError(f"an arc lies above 0 and up to 180 degrees, got {arc}")
        self.kept, self.arc = kept, arc

    def draw(self, shape: Sequence[int], spacing: Sequence[float]) -> Parameters:
        """How many views are kept, over which arc, from which angle on."""
        scan = self.reference(shape)
        arc = self.between(self.arc)
        kept = min(round(self.between(self.kept)), scan["views"])
        start = 0.0 if arc == 180 else float(self.R.uniform(0, 180))
        return scan | {"kept_views": kept, "arc_degrees": arc, "start_degrees": start}

    def change(
        self, attenuation: torch.Tensor, first: int, beam: ParallelBeam, parameters: Parameters, **beside: torch.Tensor
    ) -> torch.Tensor:
        """The kept views' extra weight, less the others."""
        weights = view_weights(
            parameters["views"], parameters["kept_views"], parameters["arc_degrees"], parameters["start_degrees"]
        )
        surplus = torch.as_tensor(weights - 1, dtype=attenuation.dtype, device=attenuation.device)
        return beam.project(attenuation) * surplus[:, None, None]


class SparseViewCTd(Degradationd):
    """:class:`SparseViewCT` of entries of an item."""

    array_form = SparseViewCT


def view_weights(views: int, kept: int, arc: float, start: float) -> np.ndarray:
    """How many views each of ``views`` even steps over half a turn stands for, ``(views,)``; 0 where it is left out.

    Over a whole half turn a view stands for what lies nearer to it than to the next one kept, around the turn; over a
    shorter arc all stand for equal parts, of all views, so that the mean of a slice stays.
    """
    covered = max(1, round(views * arc / 180))
    places = np.unique(np.floor((np.arange(min(kept, covered)) + 0.5) * covered / min(kept, covered)).astype(int))
    weights = np.zeros(views)
    if covered < views:
        weights[(places + round(start / 180 * views)) % views] = views / len(places)
        return weights
    gaps = np.diff(places, append=places[0] + views)
    weights[places] = (gaps + np.roll(gaps, 1)) / 2
    return weights
