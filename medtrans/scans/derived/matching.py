"""Which series a volume was made from: by what its conversion recorded, else by the grid, in one patient only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medtrans.errors import InputError
from medtrans.scans.derived.grid import off_grid
from medtrans.scans.derived.sources import SourceSeries


def source_of(
    subject: str, shape: Sequence[int], affine: np.ndarray, images: str, sources: Sequence[SourceSeries]
) -> SourceSeries:
    """The one series among ``sources`` that a volume was made from.

    A volume whose sidecar names the images it was made from (:func:`~medtrans.scans.series.naming.images_hash`)
    goes with these and no others. One that nothing is recorded of goes with the only series there is, or with the
    only one that it lies on the grid of, where all are one patient's; synthetic series of earlier exports do not count.

    Raises:
        InputError: none, or several; another patient's scan on the same grid must never be guessed.
    """
    if images:
        known = [source for source in sources if images in (source.images, source.known_as)]
        if known:
            return known[0]
        problem = "was made from images that are not among those of --like, says its sidecar"
        raise InputError(subject, problem, "Give the export that it was converted from")
    sources = [source for source in sources if not source.synthetic] or list(sources)
    if len(sources) == 1:
        return sources[0]
    if len({source.patient for source in sources}) > 1:
        problem = "has no sidecar that says whose it is, and --like holds several patients"
        raise InputError(subject, problem, "Give the folder of its own series")
    fitting = [source for source in sources if not off_grid(shape, affine, source)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        problem = f"lies on the grid of {len(fitting)} series ({', '.join(source.name for source in fitting)})"
    else:
        problem = f"lies on the grid of none of the {len(sources)} series of --like"
    raise InputError(subject, problem, "Give the folder of the one series that it was made from")
