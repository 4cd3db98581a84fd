"""A small convolutional network with seeded random weights, frozen, as an instrument that needs no file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medtrans.networks.instrument import Instrument


class RandomFeatures(Instrument):
    """Random projections of image patches of growing size: enough to compare distributions of images by.

    Called with images ``(B, C, *spatial)`` in [-1, 1] it returns a feature map ``(B·C, d, *smaller)`` of each layer;
    channels are images of their own. What it sees was learned from nothing: distances between sets of images of one
    study can be compared with each other, not with those of another extractor or another paper.

    Args:
        spatial_dims: 2 or 3.
        channels: filters of each layer; each halves the image.
        seed: of the weights.
    """

    def __init__(self, spatial_dims: int = 2, channels: Sequence[int] = (16, 32, 64), seed: int = 0) -> None:
        super().__init__()
        self.spatial_dims, self.channels, self.seed = spatial_dims, tuple(channels), seed

    def read(self) -> nn.ModuleList:
        """The layers, the same for the same seed."""
        widths = [1, *self.channels]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = nn.ModuleList()
            for first, then in pairwise(widths):
                convolution = Conv[Conv.CONV, self.spatial_dims](first, then, 3, 2, 1)
                nn.init.kaiming_normal_(convolution.weight, 0.2)
                nn.init.normal_(convolution.bias, std=0.5)
                layers.append(nn.Sequential(convolution, nn.LeakyReLU(0.2)))
        return layers

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of ``image``, see the class."""
        found, features = [], image.flatten(0, 1).unsqueeze(1)
        for layer in self.loaded().children():
            features = layer(features)
            found.append(features)
        return found
