"""Read one slice, or one whole volume, of each channel from NIfTI files in physical units."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from medtrans.errors import InputError
from medtrans.transforms.mapped_nifti import MappedNifti, axis_number

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def _opened(paths: Paths) -> list[MappedNifti]:
    """The volumes behind one path or a list of paths, one a channel, all of the same shape.

    Raises:
        InputError: a volume cannot be read, or has another shape than the first.
    """
    channels = [MappedNifti.open(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not channels:
        raise InputError("the list of volumes", "is empty", "Give at least one modality")
    for other in channels[1:]:
        if other.shape != channels[0].shape:
            problem = f"has the shape {other.shape}, but {channels[0].path.name} has {channels[0].shape}"
            raise InputError(other.path, problem, "Bring both onto one grid with `medtrans prepare`")
    return channels


class ReadSlices(Transform):
    """Paths -> one slice of each, stacked as channels."""

    def __call__(self, paths: Paths, axis: int | str = "axial", index: int = 0) -> torch.Tensor:  # type: ignore[override]
        """The slice ``index`` across ``axis``.

        Args:
            paths: one NIfTI file, or one a channel, all on the same grid. Uncompressed files are memory-mapped, so
                that only the slice is read.
            axis: 0, 1, 2 or ``"sagittal"``, ``"coronal"``, ``"axial"``.
            index: 0 is the leftmost, rearmost or lowest slice.

        Returns:
            float32 ``(C, X, Y)`` for axial, ``(C, X, Z)`` for coronal, ``(C, Y, Z)`` for sagittal slices, in physical
            units.

        Raises:
            InputError: a file cannot be read, the channels differ in shape, or values are not finite.
        """
        number = axis_number(axis)
        return torch.from_numpy(np.stack([volume.plane(number, index) for volume in _opened(paths)]))


class ReadVolumes(Transform):
    """Paths -> whole volumes, stacked as channels, with their affine."""

    def __init__(self, tolerance: float = 1e-3) -> None:
        self.tolerance = tolerance

    def __call__(self, paths: Paths) -> MetaTensor:
        """The volumes as float32 ``(C, X, Y, Z)`` in physical units, on the first one's grid, axes as stored.

        Raises:
            InputError: a file cannot be read, the channels are on different grids, or values are not finite.
        """
        channels = _opened(paths)
        for other in channels[1:]:
            if not np.allclose(other.affine, channels[0].affine, atol=self.tolerance):
                problem = f"lies elsewhere in space than {channels[0].path.name} (their affines differ)"
                raise InputError(other.path, problem, "Bring both onto one grid with `medtrans prepare`")
        voxels = torch.from_numpy(np.stack([volume.volume() for volume in channels]))
        return MetaTensor(
            voxels, affine=torch.from_numpy(channels[0].affine.copy()), meta={"spatial_shape": channels[0].shape}
        )


class _Readd(MapTransform):
    """What the two dictionary readers share.

    Args:
        keys: which entries of the item to read; each is a path or a list of paths (channels).
        mask_key: where the item has no such entry (or None), it becomes ones of one channel, that is "everything
            counts", so that items with and without a mask make one batch. None turns this off.
        allow_missing_keys: pass over other entries that are missing.
        optional: further entries, read where the item has them.
    """

    array_form: Callable[[], Any]

    def __init__(
        self,
        keys: KeysCollection = ("source", "target", "mask"),
        mask_key: str | None = "mask",
        allow_missing_keys: bool = False,
        optional: Sequence[Hashable] = (),
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key, self.optional = mask_key, tuple(optional)
        self.array = type(self).array_form()

    def read(self, item: Mapping[Hashable, Any], key: Hashable) -> torch.Tensor:
        """The tensor behind ``item[key]``."""
        raise NotImplementedError

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with tensors in the place of paths.

        Raises:
            InputError: a file cannot be read.
            KeyError: an entry is missing that must not be.
        """
        item = dict(data)
        read = [key for key in (*self.keys, *self.optional) if item.get(key) is not None]
        for key in read:
            item[key] = self.read(item, key)
        for key in set(self.keys) - set(read):
            if key == self.mask_key and read:
                item[key] = torch.ones_like(item[read[0]][:1])
            elif not self.allow_missing_keys:
                raise KeyError(f"the item has no {key!r} (it has {', '.join(map(str, data))})")
        return item


class ReadSlicesd(_Readd):
    """:class:`ReadSlices` on items of :func:`medtrans.cohorts.slice_items`, which say ``axis`` and ``index``.

    The index may be one number for all keys, or a number for each key, as in :class:`medtrans.cohorts.UnpairedDataset`.
    """

    array_form = ReadSlices

    def read(self, item: Mapping[Hashable, Any], key: Hashable) -> torch.Tensor:
        """The slice of every channel."""
        index = item["index"]
        return self.array(item[key], item["axis"], index[key] if isinstance(index, Mapping) else index)


class ReadVolumesd(_Readd):
    """:class:`ReadVolumes` on items of :func:`medtrans.cohorts.volume_items`."""

    array_form = ReadVolumes

    def read(self, item: Mapping[Hashable, Any], key: Hashable) -> torch.Tensor:
        """The volume of every channel, with its affine."""
        return self.array(item[key])
