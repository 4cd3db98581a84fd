"""Synthetic volumes on disk: NIfTI in physical units on the source's own grid, without patient data in the header."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from medtrans.errors import InputError
from medtrans.files import written_whole


def synthetic_name(case: str, target: str) -> str:
    """``<case>_<target>_synthetic.nii.gz``.

    Raises:
        InputError: ``case`` or ``target`` would leave the folder.
    """
    name = f"{case}_{target}_synthetic.nii.gz"
    if Path(name).name != name or "\\" in name:
        raise InputError(f"case {case!r}, target {target!r}", "cannot be a file name", "Use names without slashes")
    return name


def save_volume(
    volume: np.ndarray | torch.Tensor, affine: np.ndarray, path: str | os.PathLike[str], text: str = ""
) -> Path:
    """Write one volume ``(X, Y, Z)`` as float32 NIfTI: sform and qform equal with code 1, millimetres, a new header.

    Args:
        volume: in physical units.
        affine: index -> millimetres in RAS, ``(4, 4)``.
        path: ``.nii`` or ``.nii.gz``; written whole or not at all.
        text: for the header's description, at most 80 bytes; must not name a patient.

    Raises:
        InputError: the volume is not finite, or the folder cannot be written.
    """
    values = np.asarray(volume.detach().cpu() if isinstance(volume, torch.Tensor) else volume, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(path, "would hold values that are not finite", "Check the model and the source volume")
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = text.encode("ascii", "replace")[:79]
    image.set_sform(affine, code=1)
    # a qform is a rotation: it cannot say the shear of a tilted gantry, and must not say something else
    image.set_qform(affine, code=1 if _rotates_only(np.asarray(affine)) else 0)
    with written_whole(path) as temporary:
        nibabel.save(image, temporary)
    return Path(path)


def _rotates_only(affine: np.ndarray) -> bool:
    """Whether the axes of the grid are at right angles."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return np.allclose(directions.T @ directions, np.eye(3), atol=1e-4)


class SaveVolumed(MapTransform):
    """Write predictions as ``output_dir/<case>_<target>_synthetic.nii.gz`` and note the paths in the item.

    It comes last: after ``RestoreByWindowd`` (physical units) and ``Invertd`` of the resampling (the source's grid).

    Args:
        keys: entries ``(C, X, Y, Z)`` to write.
        output_dir: folder, made when missing.
        target: the modality, or one a channel.
        case_key: where the item's name lies.
        allow_missing_keys: pass over entries that are missing.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        output_dir: str | os.PathLike[str] = ".",
        target: str | Sequence[str] = "target",
        case_key: str = "case",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir, self.case_key = Path(output_dir), case_key
        self.targets = [target] if isinstance(target, str) else list(target)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, with the written paths under ``<key>_paths``.

        Raises:
            InputError: the prediction is not finite, or a file cannot be written.
            TypeError: the prediction has lost its affine.
            ValueError: it has another number of channels than there are targets.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            volume = item[key]
            if not isinstance(volume, MetaTensor):
                raise TypeError(f"{key!r} has no affine: bring it back onto the source's grid with Invertd first")
            if len(volume) != len(self.targets):
                raise ValueError(f"{key!r} has {len(volume)} channel(s), but there are the targets {self.targets}")
            affine, channels = volume.affine.cpu().numpy(), volume.as_tensor()
            item[f"{key}_paths"] = [
                save_volume(
                    channel,
                    affine,
                    self.output_dir / synthetic_name(item[self.case_key], target),
                    f"synthetic {target}",
                )
                for channel, target in zip(channels, self.targets, strict=True)
            ]
        return item
