"""Background outside the body, where the training data were prepared that way (table, coil and cushion gone)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple_rep

from medtrans.errors import InputError
from medtrans.transforms.body_mask import body_mask


class ClearOutsided(MapTransform):
    """Set what lies outside the body to background.

    For data sets whose recipe says ``"mask": {"outside": "background"}``: a new scan must reach the network without
    its surroundings, too. The body is found in the first channel.

    Args:
        keys: volumes ``(C, X, Y[, Z])`` in physical units.
        kind: ``"CT"``, ``"MR"`` or ``"PET"``, see :func:`medtrans.transforms.body_mask.body_mask`.
        background: value outside; one number or one a channel.
        enabled: False does nothing, so that a config can switch it by what the recipe said.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        kind: str,
        background: float | Sequence[float] = 0.0,
        enabled: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.kind, self.background, self.enabled = kind, background, enabled

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with cleared volumes.

        Raises:
            InputError: a volume has no contrast, so that no body can be found.
        """
        item = dict(data)
        for key in self.key_iterator(item) if self.enabled else ():
            volume = item[key]
            try:
                body = body_mask(volume[0].detach().cpu().numpy(), self.kind)
            except ValueError as error:
                subject = f"{item.get('case', 'the scan')} ({key})"
                raise InputError(subject, f"shows no body: {error}", "Check that this is the right scan") from error
            inside = torch.from_numpy(body > 0).to(volume.device)
            fill = torch.as_tensor(ensure_tuple_rep(self.background, len(volume)), dtype=volume.dtype)
            item[key] = torch.where(inside[None], volume, fill.to(volume.device).reshape(-1, *[1] * inside.ndim))
        return item
