"""From CT numbers to what PET needs for attenuation correction: linear attenuation at 511 keV."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform, Transform

# Tube voltage in kV -> slope in 1/cm a HU and intercept in 1/cm of bone, over HU + 1000. Carney et al. 2006, table I.
BONE = {
    80: (3.64e-5, 6.26e-2),
    100: (4.43e-5, 5.44e-2),
    110: (4.92e-5, 4.88e-2),
    120: (5.10e-5, 4.71e-2),
    130: (5.51e-5, 4.24e-2),
    140: (5.64e-5, 4.08e-2),
}
WATER = 9.6e-5  # 1/cm a HU: 0.096 1/cm at 0 HU, whatever the voltage


class AttenuationMap(Transform):
    """Hounsfield units -> linear attenuation coefficient at 511 keV in 1/cm, the µ-map.

    Bilinear (Carney et al., Med. Phys. 33(4):976, 2006; the idea after Burger et al., Eur. J. Nucl. Med. 29:922, 2002):
    ``9.6e-5 (HU + 1000)`` for mixtures of air and soft tissue, ``a (HU + 1000) + b`` beyond the break point at 30 to
    52 HU, where a and b depend on the CT's tube voltage. As both lines cross at the published break point, the lower
    of the two is the value. Below -1000 HU nothing attenuates.

    Contrast agent and metal follow other lines: iodine is overestimated as if it were bone.

    Args:
        kvp: tube voltage of the CT in kV: 80, 100, 110, 120, 130 or 140.
    """

    def __init__(self, kvp: int = 120) -> None:
        if kvp not in BONE:
            raise ValueError(f"the tube voltage is one of {', '.join(map(str, BONE))} kV, got {kvp!r}")
        self.kvp = int(kvp)
        self.slope, self.intercept = BONE[self.kvp]

    def __call__(self, img: Any) -> Any:
        """``(C, X, Y[, Z])`` in HU -> the same shape and array type in 1/cm, 0 or more."""
        above_air = (img + 1000.0).clip(min=0.0)
        return _lower(WATER * above_air, self.slope * above_air + self.intercept)

    def inverse(self, data: Any) -> Any:
        """``(C, X, Y[, Z])`` in 1/cm -> HU; what was below -1000 HU comes back as -1000."""
        return -_lower(-(data / WATER), -((data - self.intercept) / self.slope)) - 1000.0


def _lower(one: Any, other: Any) -> Any:
    return torch.minimum(one, other) if isinstance(one, torch.Tensor) else np.minimum(one, other)


class AttenuationMapd(MapTransform, InvertibleTransform):
    """Dictionary transform around :class:`AttenuationMap`.

    Args:
        keys: volumes ``(C, X, Y[, Z])`` in HU.
        kvp: see :class:`AttenuationMap`.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(self, keys: KeysCollection, kvp: int = 120, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.convert = AttenuationMap(kvp)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys in 1/cm."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.convert(item[key])
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its keys in HU again."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.convert.inverse(item[key])
        return item
