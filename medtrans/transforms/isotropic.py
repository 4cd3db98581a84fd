"""Any scan onto the RAS grid of the training data in one resampling, and a prediction back onto the scan's own grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, ensure_tuple_rep

from medtrans.transforms.regrid import INTERPOLATIONS, Bounds, regrid
from medtrans.transforms.training_grid import Grid, body_box, framed_grid, ras_grid

Clamp = str | Sequence[float | None] | None  # "source", [lower, upper] or nothing


class Isotropic(InvertibleTransform):
    """Resample a volume to RAS axes and a given spacing, and frame it as the training data were framed.

    Orientation and spacing take one interpolation together, see :func:`medtrans.transforms.regrid.regrid`. A volume
    that already lies right comes back as it is; one that is only flipped, transposed or cropped is not interpolated.

    Args:
        spacing: millimetres per voxel, one number or one an axis.
        background: value outside the field of view, in the unit of the volume; one number or one a channel.
        mode: ``"linear"``, ``"cubic"`` or ``"nearest"`` (labels, masks); one or one a channel. As in training.
        clamp: bounds of the values, against scanner padding and overshoot: ``[lower, upper]``, ``"source"`` (the
            volume's own range) or None; or a list of these, one a channel.
        size: voxels along the three axes of the new grid, None where an axis keeps the field of view; None keeps it
            whole. Along an axis with a size the grid is centred on the body, unless the body is longer than that.
        kind: ``"CT"``, ``"MR"`` or ``"PET"``, how the body is found in the first channel; None centres on the field of
            view.

    Raises:
        ValueError: the spacing is not positive or the mode unknown.
    """

    def __init__(
        self,
        spacing: float | Sequence[float] = 1.0,
        background: float | Sequence[float] = 0.0,
        mode: str | Sequence[str] = "linear",
        clamp: Clamp | Sequence[Clamp] = None,
        size: Sequence[int | None] | None = None,
        kind: str | None = None,
    ) -> None:
        self.spacing = tuple(float(step) for step in ensure_tuple_rep(spacing, 3))
        if min(self.spacing) <= 0:
            raise ValueError(f"the spacing must be positive, got {self.spacing}")
        unknown = set([mode] if isinstance(mode, str) else mode) - set(INTERPOLATIONS)
        if unknown:
            raise ValueError(f"the interpolation is one of {', '.join(INTERPOLATIONS)}, got {unknown}")
        self.background, self.mode, self.clamp, self.size, self.kind = background, mode, clamp, size, kind

    def grid_for(self, volume: MetaTensor) -> Grid:
        """The new grid of ``volume``; with the volume's own affine where it already lies right."""
        affine = _affine_of(volume)
        grid = ras_grid(affine, volume.shape[1:], self.spacing)
        if self.size is None:
            return grid
        box = None if self.kind is None else body_box(volume[0].detach().cpu().numpy(), affine, self.kind)
        return framed_grid(grid, self.size, box)

    def __call__(self, volume: MetaTensor, grid: Grid | None = None) -> MetaTensor:
        """``(C, X, Y, Z)`` with an affine -> the same on the new grid, float32, on the volume's device.

        Args:
            volume: as :class:`medtrans.transforms.ReadVolumes` gives it.
            grid: instead of the volume's own new grid.
        """
        if not isinstance(volume, MetaTensor):
            raise TypeError("Isotropic needs a MetaTensor, which knows its affine; read the volume with ReadVolumesd")
        old = _affine_of(volume)
        affine, shape = self.grid_for(volume) if grid is None else grid
        modes = ensure_tuple_rep(self.mode, len(volume))
        out = _copied(volume, volume.as_tensor().float())
        if not (tuple(volume.shape[1:]) == tuple(shape) and np.array_equal(affine, old)):
            channels = out.as_tensor().cpu().numpy()
            settings = zip(
                channels, modes, ensure_tuple_rep(self.background, len(channels)), self._bounds(channels), strict=True
            )
            new = [regrid(v, old, affine, shape, mode, fill, bounds) for v, mode, fill, bounds in settings]
            out = _copied(volume, torch.from_numpy(np.stack(new)).to(volume.device))
        out.affine = torch.from_numpy(np.array(affine))
        return self.push_transform(
            out, orig_size=tuple(volume.shape[1:]), extra_info={"mode": modes[0], "affine": old.tolist()}
        )

    def inverse(self, volume: MetaTensor) -> MetaTensor:
        """A volume on the new grid (any number of channels) -> the same on the old grid, shape and affine equal.

        Nothing is smoothed on the way back: what was predicted from an upsampled scan has no finer detail than it. Each
        channel keeps to its own range, and takes its smallest value where the new grid did not reach.
        """
        out = _copied(volume, volume.as_tensor().float())
        done = self.pop_transform(out)
        old = np.asarray(done[TraceKeys.EXTRA_INFO]["affine"], dtype=np.float64)
        shape, affine, mode = done[TraceKeys.ORIG_SIZE], _affine_of(volume), done[TraceKeys.EXTRA_INFO]["mode"]
        shape = tuple(int(length) for length in shape)
        if not (shape == tuple(volume.shape[1:]) and np.allclose(affine, old, rtol=0, atol=1e-9)):
            channels = out.as_tensor().cpu().numpy()
            back = [regrid(v, affine, old, shape, mode, None, _range(v), antialias=False) for v in channels]
            out = _copied(out, torch.from_numpy(np.stack(back)).to(volume.device))
        out.affine = torch.from_numpy(old)
        return out

    def _bounds(self, channels: np.ndarray) -> list[Bounds]:
        """The clamp of every channel."""
        several = isinstance(self.clamp, list | tuple) and any(isinstance(c, str | list | tuple) for c in self.clamp)
        clamps: Sequence[Any] = self.clamp if several else [self.clamp] * len(channels)  # type: ignore[assignment]
        if len(clamps) != len(channels):
            raise ValueError(f"{len(channels)} channel(s) need as many clamps, got {len(clamps)}")
        return [
            _range(v) if c == "source" else (None, None) if c is None else (c[0], c[1])
            for v, c in zip(channels, clamps, strict=True)
        ]


class Isotropicd(MapTransform, InvertibleTransform):
    """Dictionary transform around :class:`Isotropic`: all keys come onto the new grid of the first.

    Args:
        keys: volumes to resample, on one grid before.
        spacing, size, kind: see :class:`Isotropic`.
        background, mode, clamp: see :class:`Isotropic`; for all keys, or as mapping from key to value.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spacing: float | Sequence[float] = 1.0,
        background: Any = 0.0,
        mode: Any = "linear",
        clamp: Any = None,
        size: Sequence[int | None] | None = None,
        kind: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)

        def of(key: Hashable, option: Any) -> Any:
            return option[key] if isinstance(option, Mapping) else option

        self.arrays = [
            Isotropic(spacing, of(key, background), of(key, mode), of(key, clamp), size, kind) for key in self.keys
        ]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its volumes on the new grid."""
        item = dict(data)
        grid: Grid | None = None
        for key, array in self.key_iterator(item, self.arrays):
            grid = array.grid_for(item[key]) if grid is None else grid
            item[key] = array(item[key], grid)
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its volumes on their old grids."""
        item = dict(data)
        for key, array in self.key_iterator(item, self.arrays):
            item[key] = array.inverse(item[key])
        return item


def isotropic_as_trained(
    modalities: Mapping[str, Any], keys: KeysCollection = "source", frame: bool = True
) -> Isotropicd:
    """The :class:`Isotropicd` that brings a new scan onto the grid of the training data.

    Args:
        modalities: what :func:`medtrans.cohorts.read_modalities` returned.
        keys: the source volumes.
        frame: crop and pad to the training size about the body; otherwise the whole field of view is kept.
    """
    entries = modalities["source"]
    return Isotropicd(
        keys,
        spacing=modalities["spacing"],
        background=[entry["background"] for entry in entries],
        mode=[entry.get("interpolation", "linear") for entry in entries],
        clamp=[entry.get("clamp") for entry in entries] if any(entry.get("clamp") for entry in entries) else None,
        size=modalities.get("size") if frame else None,
        kind=entries[0].get("kind"),
    )


def _affine_of(volume: MetaTensor) -> np.ndarray:
    return volume.affine.cpu().double().numpy()


def _range(values: np.ndarray) -> Bounds:
    return float(values.min()), float(values.max())


def _copied(volume: MetaTensor, values: torch.Tensor) -> MetaTensor:
    """``values`` with a copy of what ``volume`` knows about itself."""
    return MetaTensor(values, meta=dict(volume.meta), applied_operations=list(volume.applied_operations))
