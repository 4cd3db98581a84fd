"""Displacement fields: what they do to an image, how rough they are, where they fold.

A field φ is ``(B, d, *spatial)`` in voxels, in the order of the spatial axes: the warped image shows at p what the
image shows at p + φ(p).
"""

from __future__ import annotations

import warnings

import torch
from monai.networks.blocks import Warp
from torch import Tensor

from medtrans.losses.observed import at_least_single

with warnings.catch_warnings():  # it says that PyTorch's own sampling is used
    warnings.simplefilter("ignore", UserWarning)
    _WARP = Warp(mode="bilinear", padding_mode="border")


def warped(image: Tensor, field: Tensor) -> Tensor:
    """``image`` ``(B, C, *spatial)`` displaced by ``field``: linear, in float32 or 64, beyond the border as on it."""
    _WARP.ref_grid = None  # MONAI keeps it for every field of the same shape, whatever the device
    with torch.autocast(image.device.type, enabled=False):
        return _WARP(at_least_single(image), at_least_single(field))


def roughness(field: Tensor) -> Tensor:
    """Mean of |∇φ|² per component (VoxelMorph's diffusion), from neighbours: 0 for a shift, and without a unit.

    :class:`monai.losses.DiffusionLoss` takes the voxels on either side, and finds a field that alternates smooth.
    """
    return torch.stack([torch.diff(field, dim=axis).square().mean() for axis in range(2, field.dim())]).sum()


def mean_displacement(field: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean vector of each image's field, ``(B, d)``, over its ``mask`` (>0) where there is one."""
    if mask is None:
        return field.flatten(2).mean(2)
    inside = (mask > 0).flatten(2)
    return (field.flatten(2) * inside).sum(2) / inside.sum(2).clamp(min=1)


def jacobian(field: Tensor) -> Tensor:
    """Determinant of I + ∇φ, ``(B, 1, *spatial)``: the change of volume, 1 for none, ≤ 0 where the field folds."""
    axes = range(2, field.dim())
    rows = []
    for component, axis in enumerate(axes):
        row = list(torch.gradient(field[:, component], dim=[other - 1 for other in axes]))
        row[axis - 2] = row[axis - 2] + 1
        rows.append(torch.stack(row, dim=1))
    if len(rows) == 2:
        (a, b), (c, d) = rows[0].unbind(1), rows[1].unbind(1)
        return (a * d - b * c).unsqueeze(1)
    return (rows[0] * torch.linalg.cross(rows[1], rows[2], dim=1)).sum(1, keepdim=True)


def folding(field: Tensor) -> Tensor:
    """Share of the voxels at which the field folds the image over itself."""
    return (jacobian(field) <= 0).float().mean()
