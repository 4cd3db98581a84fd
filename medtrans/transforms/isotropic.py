"""Any scan onto the RAS grid of the training data in one resampling, and a prediction back onto the scan's own grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, ensure_tuple_rep
from scipy import ndimage

INTERPOLATIONS = ("bilinear", "nearest")
Background = float | Sequence[float]


class Isotropic(InvertibleTransform):
    """Resample a volume to RAS axes and a given spacing, about the centre of its field of view.

    Orientation and spacing take one linear interpolation together; where the step grows, a Gaussian of
    ``0.5 * sqrt((new / old)^2 - 1)`` old voxels takes away before what the coarser grid cannot hold (after Cardoso et
    al., MICCAI 2015). A volume that already lies on such a grid comes back as it is, and one that is only flipped or
    transposed is not interpolated. Oblique, anisotropic, flipped and sheared (tilted gantry) grids all work.

    Args:
        spacing: millimetres per voxel, one number or one an axis.
        background: value outside the field of view, in the unit of the volume; one number or one a channel.
        mode: ``"bilinear"`` or ``"nearest"`` (labels, masks; never smoothed).
        tolerance: how far, in voxels of the new grid, any corner of the volume may lie from the right grid for the
            volume to count as right.

    Raises:
        ValueError: the spacing is not positive or the mode unknown.
    """

    def __init__(
        self,
        spacing: float | Sequence[float] = 1.0,
        background: Background = 0.0,
        mode: str = "bilinear",
        tolerance: float = 0.01,
    ) -> None:
        self.spacing = tuple(float(step) for step in ensure_tuple_rep(spacing, 3))
        if min(self.spacing) <= 0:
            raise ValueError(f"the spacing must be positive, got {self.spacing}")
        self.background, self.mode, self.tolerance = background, _known(mode), tolerance

    def __call__(self, volume: MetaTensor) -> MetaTensor:
        """``(C, X, Y, Z)`` with an affine -> the same on the new grid, float32, on the volume's device."""
        if not isinstance(volume, MetaTensor):
            raise TypeError("Isotropic needs a MetaTensor, which knows its affine; read the volume with ReadVolumesd")
        old_affine, old_shape = volume.affine.cpu().double().numpy(), tuple(volume.shape[1:])
        affine, shape = ras_grid(old_affine, old_shape, self.spacing, self.tolerance)
        values = volume.as_tensor().float()
        if affine is not old_affine:
            sigmas = _antialiasing(old_affine, self.spacing) if self.mode != "nearest" else None
            values = resampled(values, old_affine, affine, shape, self.background, self.mode, sigmas)
        out = _copied(volume, values)
        out.affine = torch.from_numpy(affine)
        record = {"mode": self.mode, "affine": old_affine.tolist()}
        return self.push_transform(out, orig_size=old_shape, extra_info=record)

    def inverse(self, volume: MetaTensor) -> MetaTensor:
        """A volume on the new grid (any number of channels) -> the same on the old grid, shape and affine equal.

        Nothing is smoothed on the way back: what was predicted from an upsampled scan has no finer detail than it.
        """
        out = _copied(volume, volume.as_tensor().float())
        done = self.pop_transform(out)
        old_affine = np.asarray(done[TraceKeys.EXTRA_INFO]["affine"], dtype=np.float64)
        old_shape = tuple(int(length) for length in done[TraceKeys.ORIG_SIZE])
        affine = volume.affine.cpu().double().numpy()
        if not (old_shape == tuple(volume.shape[1:]) and np.allclose(affine, old_affine, rtol=0, atol=1e-9)):
            mode = _known(done[TraceKeys.EXTRA_INFO]["mode"])
            out = _copied(out, resampled(out.as_tensor(), affine, old_affine, old_shape, None, mode))
        out.affine = torch.from_numpy(old_affine)
        return out


class Isotropicd(MapTransform, InvertibleTransform):
    """Dictionary transform around :class:`Isotropic`.

    Args:
        keys: volumes to resample.
        spacing: see :class:`Isotropic`.
        background: value outside the field of view; one for all keys, or a list with one (number or list) a key.
        mode: ``"bilinear"`` or ``"nearest"``; one for all keys or one a key.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: float | Sequence[float] = 1.0,
        background: float | Sequence[Background] = 0.0,
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        backgrounds = ensure_tuple_rep(background, len(self.keys))
        modes = ensure_tuple_rep(mode, len(self.keys))
        self.arrays = [Isotropic(spacing, b, m) for b, m in zip(backgrounds, modes, strict=True)]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its volumes on the new grid."""
        item = dict(data)
        for key, array in self.key_iterator(item, self.arrays):
            item[key] = array(item[key])
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its volumes on their old grids."""
        item = dict(data)
        for key, array in self.key_iterator(item, self.arrays):
            item[key] = array.inverse(item[key])
        return item


def _copied(volume: MetaTensor, values: torch.Tensor) -> MetaTensor:
    """``values`` with a copy of what ``volume`` knows about itself."""
    return MetaTensor(values, meta=dict(volume.meta), applied_operations=list(volume.applied_operations))


def _known(mode: str) -> str:
    """``mode``, refused unless it is an interpolation."""
    if mode not in INTERPOLATIONS:
        raise ValueError(f"the interpolation is one of {', '.join(INTERPOLATIONS)}, got {mode!r}")
    return mode


def ras_grid(
    affine: np.ndarray, shape: Sequence[int], spacing: Sequence[float], tolerance: float = 0.01
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The grid with RAS axes that covers the field of view of another, about its centre.

    Args:
        affine: the other grid's, ``(4, 4)``, index -> millimetres in RAS.
        shape: its voxels along the three axes.
        spacing: millimetres per voxel of the new grid.
        tolerance: see :class:`Isotropic`.

    Returns:
        Affine and shape of the new grid; ``affine`` itself where it is already right.
    """
    step, size = np.asarray(spacing, dtype=np.float64), np.asarray(shape, dtype=np.float64)
    drift = np.abs(affine[:3, :3] - np.diag(step)) @ size / step
    if drift.max() < tolerance:
        return affine, tuple(shape)
    extent = np.abs(affine[:3, :3]) @ size  # of the box around the field of view, edge to edge
    count = np.maximum(np.ceil(extent / step - tolerance), 1)
    centre = affine[:3, :3] @ ((size - 1) / 2) + affine[:3, 3]
    new = np.diag([*step, 1.0])
    new[:3, 3] = centre - step * (count - 1) / 2
    return new, tuple(int(n) for n in count)


def _antialiasing(affine: np.ndarray, spacing: Sequence[float]) -> list[float]:
    """Gaussian sigma in voxels along each old axis; 0 where the step does not grow."""
    axes = nibabel.orientations.io_orientation(affine)[:, 0].astype(int)  # old axis -> nearest new axis
    old = np.linalg.norm(affine[:3, :3], axis=0)
    return [0.5 * float(np.sqrt(max((spacing[new] / old[i]) ** 2 - 1.0, 0.0))) for i, new in enumerate(axes)]


def resampled(
    volume: torch.Tensor,
    affine: np.ndarray,
    new_affine: np.ndarray,
    new_shape: Sequence[int],
    background: Background | None,
    mode: str = "bilinear",
    sigmas: Sequence[float] | None = None,
) -> torch.Tensor:
    """``(C, X, Y, Z)`` on another grid; voxels are boxes, so the outer half voxel repeats the edge.

    Where the grids are oblique to each other, the edge is carried on for one new voxel more: a prediction that comes
    back would otherwise mix background into the outermost voxels.

    Args:
        volume: values, any device; the work is done on the CPU.
        affine, new_affine: index -> millimetres of the two grids; any invertible matrix.
        new_shape: voxels of the new grid.
        background: value outside the field of view, one or one a channel; None where the new grid lies inside the old.
        mode: ``"bilinear"`` or ``"nearest"``.
        sigmas: Gaussian before the interpolation, in voxels along each old axis.
    """
    to_old = np.linalg.solve(affine, new_affine)  # index in the new grid -> index in the old
    channels = volume.detach().cpu().numpy()
    turned = _turned(channels, to_old, tuple(new_shape))
    if turned is not None:
        return torch.from_numpy(turned).to(volume.device)
    fill = channels.min(axis=(1, 2, 3)) if background is None else ensure_tuple_rep(background, len(channels))
    margin = np.zeros(3, int) if background is None else edge_margin(to_old)
    out = np.empty((len(channels), *new_shape), dtype=np.float32)
    for channel, value, target in zip(channels, fill, out, strict=True):
        for axis, sigma in enumerate(sigmas or ()):
            if sigma > 0:
                channel = ndimage.gaussian_filter1d(channel, sigma, axis=axis, mode="nearest")
        target[...] = _interpolated(channel, to_old, margin, new_shape, float(value), mode)
    return torch.from_numpy(out).to(volume.device)


def edge_margin(to_old: np.ndarray) -> np.ndarray:
    """How many old voxels the edge is carried on along each old axis: one new step; none where axes are parallel."""
    steps = np.abs(to_old[:3, :3])
    if ((steps > 1e-6).sum(axis=0) == 1).all():
        return np.zeros(3, int)
    return np.ceil(steps.sum(axis=1) - 0.5).clip(0).astype(int)


def _turned(channels: np.ndarray, to_old: np.ndarray, new_shape: tuple[int, ...]) -> np.ndarray | None:
    """The volume flipped and transposed, where that is all there is to do; None otherwise."""
    whole = np.rint(to_old[:3])
    if np.abs(to_old[:3] - whole).max() > 1e-4 or (np.abs(whole[:, :3]).sum(axis=0) != 1).any():
        return None
    axes = np.argmax(np.abs(whole[:, :3]), axis=0)  # new axis -> old axis
    signs = whole[axes, np.arange(3)]
    starts = [0 if signs[i] > 0 else new_shape[i] - 1 for i in range(3)]
    if tuple(np.asarray(channels.shape[1:])[axes]) != new_shape or (whole[axes, 3] != starts).any():
        return None
    out = channels.transpose(0, *(axes + 1))[(slice(None), *(slice(None, None, int(sign)) for sign in signs))]
    return np.ascontiguousarray(out)


def _interpolated(
    channel: np.ndarray, to_old: np.ndarray, margin: np.ndarray, shape: Sequence[int], background: float, mode: str
) -> np.ndarray:
    """One channel by SimpleITK, the fastest we measured; it works on indices, so that shear is no obstacle."""
    import SimpleITK  # heavy, and only resampling needs it

    # SimpleITK counts axes backwards: its index (i, j, k) is numpy's [k, j, i]. So the map is turned, not the data.
    padded = np.pad(channel, [(int(n), int(n)) for n in margin], mode="edge") if margin.any() else channel
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(padded))
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(to_old[2::-1, 2::-1].ravel().tolist())
    transform.SetTranslation((to_old[:3, 3] + margin)[::-1].tolist())
    resample = SimpleITK.ResampleImageFilter()
    resample.SetSize([int(n) for n in reversed(shape)])
    resample.SetTransform(transform)
    resample.SetInterpolator(SimpleITK.sitkNearestNeighbor if mode == "nearest" else SimpleITK.sitkLinear)
    resample.SetDefaultPixelValue(background)
    return SimpleITK.GetArrayFromImage(resample.Execute(image))
