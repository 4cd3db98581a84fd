"""Where the body is: a filled mask from CT by a fixed threshold, from MR and PET by Otsu's method."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type
from scipy import ndimage

KINDS = ("CT", "MR", "PET")
AIR_LIMIT_HU = -500.0
LARGE = 4_000_000  # voxels


def body_mask(
    volume: np.ndarray | torch.Tensor, kind: str, threshold: float | None = None, smoothing: float = 1.0
) -> np.ndarray:
    """The mask of the body: above a threshold, the largest connected piece, its holes filled.

    CT is cut at -500 HU. MR and PET are smoothed and cut at the lower threshold of Otsu's method with three classes
    (air, dim, bright tissue; Otsu 1979, Liao et al. 2001): with two classes one hot lesion, or bright fat, pushes the
    threshold above dim tissue. Values above the 99th percentile of the signal are clipped for the same reason.
    Holes are filled slice by slice along the last axis, so that airways and sinuses that are open to the outside at
    some level still count as inside.

    Args:
        volume: values of shape ``(X, Y)`` or ``(X, Y, Z)``, finite; CT in HU.
        kind: ``"CT"``, ``"MR"`` or ``"PET"``.
        threshold: takes the place of the threshold of ``kind``, in the volume's own unit.
        smoothing: Gaussian sigma in voxels before the threshold of MR and PET; CT is never smoothed.

    Returns:
        A ``uint8`` array of the volume's shape, 1 inside. All 0 when nothing is above the threshold.

    Raises:
        ValueError: ``kind`` is unknown, the shape is neither 2D nor 3D, or the volume has no contrast (Otsu's method
            finds no threshold in a constant volume).
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of a volume is one of {', '.join(KINDS)}, got {kind!r}")
    values = np.asarray(volume.detach().cpu() if isinstance(volume, torch.Tensor) else volume, dtype=np.float32)
    if values.ndim not in (2, 3):
        raise ValueError(f"a body mask needs a volume of shape (X, Y) or (X, Y, Z), got {values.shape}")
    if kind == "CT":
        above = values > (AIR_LIMIT_HU if threshold is None else threshold)
    else:
        smooth = ndimage.gaussian_filter(values, smoothing) if smoothing > 0 else values
        above = smooth > (otsu_threshold(smooth[_sample(smooth)]) if threshold is None else threshold)
    if not above.any():
        return np.zeros(values.shape, np.uint8)
    pieces, _ = ndimage.label(above)
    sizes = np.bincount(pieces.ravel(order="K"))
    sizes[0] = 0
    return _filled(pieces == sizes.argmax()).astype(np.uint8)


def _sample(values: np.ndarray) -> tuple[slice, ...]:
    """Every second voxel along each axis of a large volume: a histogram needs no more."""
    return (slice(None, None, 2 if values.size > LARGE else 1),) * values.ndim


def otsu_threshold(values: np.ndarray) -> float:
    """The lower of the two thresholds of Otsu's method with three classes.

    Raises:
        ValueError: ``values`` are constant.
    """
    from skimage.filters import threshold_multiotsu, threshold_otsu

    lowest = values.min()
    signal = values[values > lowest]
    if signal.size == 0:
        raise ValueError(f"the volume is constant ({lowest:g}), so it has no body")
    clipped = np.minimum(values, np.percentile(signal, 99)).ravel()  # three slices are no colours
    try:
        return float(threshold_multiotsu(clipped, classes=3)[0])
    except ValueError:  # fewer than three different values
        return float(threshold_otsu(clipped))


def _filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` without holes in any slice along the last axis of a volume, and so without any in the volume."""
    in_plane = ndimage.generate_binary_structure(2, 1)
    structure = in_plane if mask.ndim == 2 else np.stack([0 * in_plane, in_plane, 0 * in_plane], axis=-1)
    outside = np.pad(~mask, [(1, 1), (1, 1)] + [(0, 0)] * (mask.ndim - 2), constant_values=True)
    pieces, _ = ndimage.label(outside, structure)  # what the frame around each slice does not reach is a hole
    reached = np.zeros(pieces.max() + 1, bool)
    reached[pieces[0, 0]] = True
    return ~reached[pieces[1:-1, 1:-1]]


class BodyMask(Transform):
    """Array transform around :func:`body_mask`.

    Args:
        kind: ``"CT"``, ``"MR"`` or ``"PET"``.
        threshold: see :func:`body_mask`.
        smoothing: see :func:`body_mask`.
    """

    def __init__(self, kind: str, threshold: float | None = None, smoothing: float = 1.0) -> None:
        self.kind, self.threshold, self.smoothing = kind, threshold, smoothing

    def __call__(self, img: Any) -> Any:
        """``(C, X, Y[, Z])`` -> ``(1, X, Y[, Z])`` of the same array type, 1 where any channel has body."""
        channels = [body_mask(channel, self.kind, self.threshold, self.smoothing) for channel in img]
        return convert_to_dst_type(np.maximum.reduce(channels)[None], dst=img, dtype=np.uint8)[0]


class BodyMaskd(MapTransform):
    """Dictionary transform around :class:`BodyMask`: writes the mask of each key under another key.

    Args:
        keys: the images.
        kind: ``"CT"``, ``"MR"`` or ``"PET"``.
        mask_key: where the mask goes; with several keys it holds their union.
        threshold: see :func:`body_mask`.
        smoothing: see :func:`body_mask`.
        allow_missing_keys: do not raise when a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        kind: str,
        mask_key: Hashable = "mask",
        threshold: float | None = None,
        smoothing: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key
        self.make = BodyMask(kind, threshold, smoothing)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``data`` with the mask under ``mask_key``."""
        item = dict(data)
        masks = [self.make(item[key]) for key in self.key_iterator(item)]
        if masks:
            union = masks[0]
            for mask in masks[1:]:
                union = union | mask
            item[self.mask_key] = union
        return item
