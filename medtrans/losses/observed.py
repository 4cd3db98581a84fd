"""An image as losses see it: its pixels, and what each network finds in it, computed once however many losses ask."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Features = list[Tensor]
Extractor = Callable[[Tensor], Features]
Discriminator = Callable[[Tensor], Features | list[Features]]


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
        source: the image it was translated from, ``(B, C', *spatial)``.
        mask: ``(B, 1, *spatial)``, >0 inside the body; None where there is none.
        discriminator: returns hidden outputs and last the logits, or a list of such lists, one for each scale.
        constant: look at it without gradients (a target).
        conditional: the discriminator sees image and source, concatenated along channels; else the image alone.
        derived: name -> what the method makes of the image or its source on demand, such as ``"cycled"``, the image
            translated back.
        label: ``(B, 1, *spatial)``, class numbers of a segmentation; None where there is none.
    """

    def __init__(
        self,
        image: Tensor,
        source: Tensor | None = None,
        mask: Tensor | None = None,
        discriminator: Discriminator | None = None,
        constant: bool = False,
        conditional: bool = True,
        derived: Mapping[str, Callable[[], Tensor]] | None = None,
        label: Tensor | None = None,
    ) -> None:
        self.image, self.source, self.mask = at_least_single(image), source, mask
        self.discriminator, self.constant, self.conditional = discriminator, constant, conditional
        self.label = label
        self._makers = dict(derived or {})
        self._derived: dict[str, Observed] = {}
        self._found: dict[int, list[Features]] = {}
        self._original: dict[tuple[int, ...], Observed] = {}
        self._kept: dict[Hashable, Any] = {}

    def features(self, extractor: Extractor) -> list[Tensor]:
        """What ``extractor`` finds in the image."""
        return self._once(extractor, lambda: self.image)[0]

    def hidden(self) -> list[Tensor]:
        """The discriminator's hidden outputs, those of all scales one after the other."""
        return [output for scale in self._judged() for output in scale[:-1]]

    def logits(self) -> list[Tensor]:
        """The discriminator's logits, one map a scale."""
        return [scale[-1] for scale in self._judged()]

    @property
    def judged(self) -> list[Features] | None:
        """What the discriminator has said of the image, a list of outputs a scale; None where nobody has asked yet."""
        return self._found.get(id(self.discriminator)) if self.discriminator is not None else None

    def with_image(self, image: Tensor) -> Observed:
        """Another image before the same discriminator, with the same source."""
        return Observed(image, self.source, self.mask, self.discriminator, conditional=self.conditional)

    def derived(self, name: str) -> Observed:
        """What the method makes of the image under ``name``, made when the first loss term asks.

        Raises:
            ValueError: the method makes nothing of that name.
        """
        if name not in self._derived:
            if name not in self._makers:
                raise ValueError(f"a loss term needs the {name} image, but the method does not make it")
            self._derived[name] = Observed(self._makers[name](), mask=self.mask, label=self.label)
        return self._derived[name]

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

    def _judged(self) -> list[Features]:
        if self.discriminator is None:
            raise ValueError("a loss term needs a discriminator, but the method has none")
        return self._once(self.discriminator, self._conditioned)

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made when ``key`` is first asked for: what loss terms share beside features."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _conditioned(self) -> Tensor:
        if self.source is None or not self.conditional:
            return self.image
        return torch.cat([self.image, self.source], dim=1)

    def _once(self, extractor: Discriminator, image: Callable[[], Tensor]) -> list[Features]:
        if id(extractor) not in self._found:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.constant):
                found = extractor(image())
            scales = found if isinstance(found[0], list) else [found]
            self._found[id(extractor)] = [[at_least_single(output) for output in scale] for scale in scales]
        return self._found[id(extractor)]
