"""A pre-trained BiGAN discriminator as a frozen feature extractor: Cycle-MedGAN's."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from medtrans.errors import InputError
from medtrans.networks.bigan import BIGAN_CHANNELS, image_branch
from medtrans.networks.instrument import Instrument
from medtrans.networks.norms import Norm
from medtrans.networks.padding import pad_to_multiple
from medtrans.networks.spectral import spectrally_normalised
from medtrans.weights import read_weights

logger = logging.getLogger(__name__)

PREFIX = "image_branch."
WEIGHT, NORMALISED_WEIGHT = "0.weight", "0.parametrizations.weight.original"


class BiGANFeatures(Instrument):
    """What the image branch of a BiGAN's discriminator sees in an image, for cycle-perceptual and cycle-style losses.

    Called with images in [-1, 1] of any size it returns the feature maps ``(N, d_j, *spatial_j)`` of every hidden
    layer, after its activation. Filters and dimensions are read from the file. Images of other channel numbers than it
    was trained with become separate images channel by channel, and so do the slices of a volume along its last axis
    where it was trained on slices. Parameters are frozen, gradients flow to the image.

    Args:
        weights: state dict of a :class:`BiGANDiscriminator`, as its bundle writes it, or ``"random"``: seeded random
            weights of the default shape, 2D, one channel, for trying out the machinery only.
        norm: the norm it was trained with.

    Raises:
        InputError: the file is not there, or is no such state dict, or of volumes where the images are slices. It is
            read on the first use, or by :meth:`load`.
    """

    def __init__(self, weights: str | os.PathLike[str], norm: Norm = None) -> None:
        super().__init__()
        self.weights, self.norm = os.fspath(weights), norm

    def read(self) -> nn.ModuleList:
        """The hidden layers of the discriminator's image branch."""
        stages = self._random() if self.weights == "random" else self._read(Path(self.weights).expanduser())
        for layer in stages.eval().modules():  # in training mode the power iteration would go on
            if is_parametrized(layer, "weight"):
                remove_parametrizations(layer, "weight")
        return stages

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image``, see the class."""
        stages = cast("nn.ModuleList", self.loaded())
        first = stages[0][0]  # type: ignore[index]
        if image.dim() < first.weight.dim():
            raise InputError(
                self.weights, "was trained on volumes, not on slices", "Pre-train the bigan bundle on slices"
            )
        if image.dim() > first.weight.dim():
            image = image.movedim(-1, 1).flatten(0, 1)
        if image.shape[1] != first.in_channels:
            image = image.flatten(0, 1).unsqueeze(1)
        found, features = [], pad_to_multiple(image, 2 ** len(stages))
        for stage in stages:
            features = stage(features)
            found.append(features)
        return found

    def _random(self) -> nn.ModuleList:
        logger.warning(
            "BiGAN features have RANDOM weights (weights: random): cycle-perceptual and cycle-style terms carry no "
            "learned notion of texture. Pre-train the bigan bundle and give its file for real training."
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same in every run, and a resumed run goes on with them
            return image_branch(2, 1, BIGAN_CHANNELS, self.norm)

    def _read(self, path: Path) -> nn.ModuleList:
        if not path.is_file():
            remedy = "Pre-train the bigan bundle, or give the path of its file; `random` runs without, for trials only"
            raise InputError(path, "BiGAN weights are not there", remedy)
        remedy = "Give the discriminator's file of the bigan bundle, and the norm it was trained with"
        state = read_weights(path)
        try:
            branch = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
            stages = _like(branch, self.norm)
            stages.load_state_dict(branch)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(path, f"is not the state of a BiGAN's discriminator ({reason})", remedy) from error
        return stages


def _like(state: dict[str, Any], norm: Norm) -> nn.ModuleList:
    """An image branch of the shape of this state dict."""
    named = [
        (int(key.split(".")[0]), key.endswith(NORMALISED_WEIGHT), value.shape)
        for key, value in state.items()
        if key.endswith((WEIGHT, NORMALISED_WEIGHT)) and key.count(".") in (2, 4)
    ]
    if not named:
        raise ValueError("it has no image branch")
    shapes = [shape for _, _, shape in sorted(named)]
    stages = image_branch(len(shapes[0]) - 2, shapes[0][1], [shape[0] for shape in shapes], norm)
    return spectrally_normalised(stages) if named[0][1] else stages
