"""The intensity windows of a scan that is in no data set, by the rules of the training data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from medtrans.errors import InputError
from medtrans.transforms.body_mask import body_mask
from medtrans.transforms.intensity import FixedWindow
from medtrans.transforms.window import Window

Rule = Callable[[Any, Any], Window]
RuleLike = Rule | Mapping[str, Any]


def as_rule(rule: RuleLike) -> Rule:
    """An intensity rule from itself or from its configuration, ``{"_target_": …}`` as in recipe.json."""
    if not isinstance(rule, Mapping):
        return rule
    from monai.bundle import ConfigParser

    return ConfigParser({"rule": dict(rule)}).get_parsed_content("rule")


class FitWindowd(MapTransform):
    """Fit each channel's intensity rule on the loaded volume and put the windows into ``item["windows"][key]``.

    Windows that an item brings, as the cases of a data set prepared by the same rules do, are kept.

    Rules that look at the volume do so inside the body of that channel, found by
    :func:`medtrans.transforms.body_mask.body_mask` as in `medtrans prepare`: by the rule's own ``body`` ("CT", "MR",
    "PET"), by CT's threshold where the rule's unit is HU, and as MR otherwise.

    Args:
        keys: volumes ``(C, X, Y[, Z])`` in physical units.
        rules: one rule a channel, callable ``(volume, mask) -> Window`` or its configuration ``{"_target_": …}``; or a
            mapping from key to such a list.
        mask_key: take the body mask that lies there in the item instead, where there is one; None never does.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection = "source",
        rules: Sequence[RuleLike] | Mapping[Hashable, Sequence[RuleLike]] = (),
        mask_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        by_key = rules if isinstance(rules, Mapping) else dict.fromkeys(self.keys, rules)
        self.rules = {key: [as_rule(rule) for rule in by_key[key]] for key in self.keys}
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its windows.

        Raises:
            InputError: a rule finds no window in a volume, or the number of channels is not that of the rules.
        """
        item = dict(data)
        item["windows"] = dict(item.get("windows", {}))
        for key in self.key_iterator(item):
            name, volume, rules = f"{item.get('case', 'the scan')} ({key})", item[key], self.rules[key]
            if len(volume) != len(rules):
                problem = f"has {len(volume)} channel(s), but the model was trained with {len(rules)}"
                raise InputError(name, problem, "Give one volume for each modality of the model")
            if key in item["windows"]:
                continue
            mask = None if self.mask_key is None else item.get(self.mask_key)
            pairs = zip(volume, rules, strict=True)
            item["windows"][key] = [self._fitted(name, _plain(v), rule, mask) for v, rule in pairs]
        return item

    @staticmethod
    def _fitted(name: str, volume: np.ndarray, rule: Rule, mask: torch.Tensor | None) -> list[Any]:
        """The window of one channel as ``[lower, upper, unit]``."""
        try:
            inside = _plain(mask[0]) if mask is not None else None
            if inside is None and not isinstance(rule, FixedWindow):
                inside = body_mask(volume, getattr(rule, "body", None) or ("CT" if _in_hu(rule) else "MR"))
            window = rule(volume, inside)
        except ValueError as error:
            raise InputError(name, f"has no intensity window: {error}", "Check that this is the right scan") from error
        return [window.lower, window.upper, window.unit]


def _in_hu(rule: Rule) -> bool:
    return getattr(rule, "unit", "") == "HU"


def _plain(values: torch.Tensor) -> np.ndarray:
    """The numbers alone, without MetaTensor's bookkeeping."""
    plain = values.as_tensor() if hasattr(values, "as_tensor") else values
    return plain.detach().cpu().numpy()
