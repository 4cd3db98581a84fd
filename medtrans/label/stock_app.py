"""What MONAI Label's own monaibundle app asks of a model, as the case that a bundle's ``preprocessing`` takes.

That app writes answers as label maps are written. Where this would give a wrong image without a word, the request is
refused: MONAI Label answers 500, and the reason is in its log. ``medtrans label`` needs none of this.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Transform
from torch import nn

from medtrans.cohorts import translation_items
from medtrans.cohorts.inputs import VOLUMES
from medtrans.engines.checkpoints import load_network
from medtrans.errors import InputError
from medtrans.transforms.mapped_nifti import MappedNifti

INSTEAD = "Use `medtrans label` instead"


class RequestedCase(Transform):
    """A request of MONAI Label -> the request with ``case`` and ``source`` in the place of ``image``.

    Args:
        modalities: what :func:`medtrans.cohorts.read_modalities` returned.
        network: the generator.
        model: path of its weights. They are read once, since MONAI Label itself goes on with weights that do not fit,
            or were changed.

    Raises:
        InputError: the weights are not the network's, or the model has several sources or targets.
    """

    def __init__(self, modalities: Mapping[str, Any], network: nn.Module, model: str | os.PathLike[str]) -> None:
        self.sources, self.model = modalities["source"], Path(model)
        for side in ("source", "target"):
            if len(modalities[side]) > 1:
                problem = f"has {len(modalities[side])} {side} modalities, but MONAI Label's monaibundle app has one"
                raise InputError("the model", problem, INSTEAD)
        load_network(network, self.model)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The request for one volume.

        Raises:
            InputError: an answer in integers, or other weights, are asked for; the image is no NIfTI volume, not of
                the source modality, or has a sheared grid.
        """
        self._check_answer(data)
        path = data["image"]
        if not (isinstance(path, str) and path.lower().endswith(VOLUMES)):
            raise InputError("image", "is no NIfTI volume", INSTEAD)
        (item,) = translation_items([path], self.sources)
        if item.get("problem"):
            raise InputError(item["problem"])
        axes = MappedNifti.open(path).affine[:3, :3]
        axes = axes / np.linalg.norm(axes, axis=0)
        if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
            problem = "has a sheared grid, which MONAI Label's monaibundle app would write as a straight one"
            raise InputError("image", problem, INSTEAD)
        return {key: value for key, value in data.items() if key != "image"} | item

    def _check_answer(self, data: Mapping[Hashable, Any]) -> None:
        wanted = data.get("result_dtype") or "float32"
        if np.dtype(wanted).kind != "f":
            problem = f"would cut physical units to {wanted}: a synthetic volume is no label map"
            raise InputError("result_dtype", problem, "Leave it out, and load the answer as a scalar volume")
        chosen = data.get("model_filename") or self.model.name  # MONAI Label lists all there are, and takes the first
        chosen = chosen if isinstance(chosen, str) else chosen[0]
        if chosen != self.model.name:
            problem = f"is {chosen}, but this direction's weights are {self.model.name}"
            raise InputError("model_filename", problem, f'Send {{"model_filename": "{self.model.name}"}}')
