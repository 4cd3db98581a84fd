"""An image as losses see it: its pixels, and what each network finds in it, computed once however many losses ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Extractor = Callable[[Tensor], list[Tensor]]


def at_least_single(values: Tensor) -> Tensor:
    """In float32, or as it is in float64."""
    return values if values.dtype == torch.float64 else values.float()


class Observed:
    """One image of a pair: the candidate (a generator's output) or the target (the truth).

    What extractors find is kept, so that several loss terms share one pass, and a target that is constant over several
    generator updates is looked at once. Images and features are in float32 whatever the autocast precision (float64
    stays what it is).

    Args:
        image: ``(B, C, *spatial)`` in [-1, 1].
        source: the image it was translated from, ``(B, C', *spatial)``; conditions the discriminator.
        mask: ``(B, 1, *spatial)``, >0 inside the body; None where there is none.
        discriminator: called with image and source concatenated along channels; returns hidden outputs, last logits.
        constant: look at it without gradients (a target).
        cycled: the image translated back, to be compared with the source, where the method does so.
        label: ``(B, 1, *spatial)``, class numbers of a segmentation; None where there is none.
    """

    def __init__(
        self,
        image: Tensor,
        source: Tensor | None = None,
        mask: Tensor | None = None,
        discriminator: Extractor | None = None,
        constant: bool = False,
        cycled: Observed | None = None,
        label: Tensor | None = None,
    ) -> None:
        self.image, self.source, self.mask = at_least_single(image), source, mask
        self.discriminator, self.constant = discriminator, constant
        self.cycled, self.label = cycled, label
        self._found: dict[int, list[Tensor]] = {}
        self._original: dict[tuple[int, ...], Observed] = {}

    def features(self, extractor: Extractor) -> list[Tensor]:
        """What ``extractor`` finds in the image."""
        return self._once(extractor, lambda: self.image)

    def judged(self) -> list[Tensor]:
        """The discriminator's hidden outputs, and last its logits, for the image given its source."""
        if self.discriminator is None:
            raise ValueError("a loss term needs a discriminator, but the method has none")
        return self._once(self.discriminator, self._conditioned)

    def original(self, channels: Sequence[int] = ()) -> Observed:
        """The source, or some channels of it, as an image to compare with; looked at without gradients.

        Raises:
            ValueError: there is no source, or it has no such channel.
        """
        if self.source is None:
            raise ValueError("a loss term needs the source, but the method gives none")
        key = tuple(channels)
        if key not in self._original:
            if any(channel not in range(self.source.shape[1]) for channel in key):
                raise ValueError(f"the source has {self.source.shape[1]} channel(s), not {list(key)}")
            image = self.source[:, list(key)] if key else self.source
            self._original[key] = Observed(image, mask=self.mask, constant=True, label=self.label)
        return self._original[key]

    def _conditioned(self) -> Tensor:
        return self.image if self.source is None else torch.cat([self.image, self.source], dim=1)

    def _once(self, extractor: Extractor, image: Callable[[], Tensor]) -> list[Tensor]:
        if id(extractor) not in self._found:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.constant):
                self._found[id(extractor)] = [at_least_single(feature) for feature in extractor(image())]
        return self._found[id(extractor)]
