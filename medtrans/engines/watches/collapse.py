"""Mode collapse: whatever the source, the generator gives much the same image."""

from __future__ import annotations

import math

from medtrans.engines.watches.watch import Watch


class Collapse(Watch):
    """The sign ``collapse``: the validation's :class:`medtrans.engines.Diversity` is below ``least``.

    Args:
        least: share of the real images' diversity.
        metric: name of the metric in the validation; without it there is nothing to see.
        epochs: how many in a row, see :class:`Watch`.
    """

    name = "collapse"

    def __init__(self, least: float = 0.5, metric: str = "diversity", epochs: int = 2) -> None:
        self.least, self.metric, self.epochs = least, metric, epochs

    def signs(self, epoch: int) -> dict[str, str]:
        """The sign, if the last validation shows it."""
        found = self.validated(self.metric, math.nan)
        if not found < self.least:
            return {}
        told = f"the synthetic images of the validation differ from one another {found:.0%} as much as real ones do"
        return {"collapse": f"mode collapse? {told}"}
