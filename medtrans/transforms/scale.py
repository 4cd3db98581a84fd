"""Physical units to [-1, 1] and back, channel by channel, by the windows that an item carries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform

from medtrans.transforms.window import Window

# Window.record(), the [lower, upper, unit] of an item, or a Window
WindowLike = Window | Mapping[str, Any] | Sequence[Any]


def as_window(value: WindowLike) -> Window:
    """A :class:`Window` from itself, its record, or ``[lower, upper]`` with or without a unit.

    Raises:
        ValueError: it says no finite lower < upper.
    """
    if isinstance(value, Window):
        return value
    return Window(**value) if isinstance(value, Mapping) else Window(float(value[0]), float(value[1]), *value[2:])


def _by_channel(values: torch.Tensor, windows: Sequence[WindowLike], method: str, **options: bool) -> torch.Tensor:
    """``Window.normalise`` or ``Window.restore`` on each channel of ``(C, …)``."""
    if len(windows) != values.shape[0]:
        raise ValueError(f"{values.shape[0]} channel(s) need as many windows, got {len(windows)}")
    scaled = [getattr(as_window(window), method)(values[i], **options) for i, window in enumerate(windows)]
    return torch.stack(scaled) if len(scaled) > 1 else scaled[0][None]


class ScaleByWindowd(MapTransform, InvertibleTransform):
    """Physical units -> [-1, 1], by the windows in ``item["windows"][key]``.

    Args:
        keys: entries ``(C, X, Y[, Z])`` to scale.
        clip: cut off what lies outside the window. :meth:`inverse` cannot bring that back.
        allow_missing_keys: pass over entries that are missing.

    Raises (when called):
        KeyError: the item carries no windows for a key.
        ValueError: their number is not the number of channels.
    """

    def __init__(
        self, keys: KeysCollection = ("source", "target"), clip: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clip = clip

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys in [-1, 1]."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = _by_channel(item[key], item["windows"][key], "normalise", clip=self.clip)
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys in physical units again.

        An item without ``windows`` comes back as it is: that is what MONAI's ``Invertd`` hands in for a prediction,
        whose unit is the target's and not the source's; :class:`RestoreByWindowd` has already restored it.
        """
        item = dict(data)
        if "windows" in item:
            for key in self.key_iterator(item):
                item[key] = _by_channel(item[key], item["windows"][key], "restore")
        return item


class RestoreByWindowd(MapTransform):
    """[-1, 1] -> physical units: a prediction gets the unit of its target.

    Args:
        keys: entries ``(C, X, Y[, Z])`` to restore.
        windows: one window a channel, as ``[lower, upper, unit]``, as record or as :class:`Window`; what
            ``models/modalities.json`` recorded for the target. None takes ``item["windows"][of]``.
        of: whose windows to take from the item.
        clip: cut predictions to [-1, 1] first: values beyond the window were never seen in training.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        windows: Sequence[WindowLike] | None = None,
        of: str = "target",
        clip: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.windows = None if windows is None else [as_window(window) for window in windows]
        self.of, self.clip = of, clip

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys in physical units, float32."""
        item = dict(data)
        windows = item["windows"][self.of] if self.windows is None else self.windows
        for key in self.key_iterator(item):
            values = item[key].float()
            item[key] = _by_channel(values.clip(-1.0, 1.0) if self.clip else values, windows, "restore")
        return item
