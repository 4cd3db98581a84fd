"""BiGAN: an encoder and a generator that invert each other, and a discriminator of image and code together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from monai.networks.utils import normal_init
from torch import Tensor, nn

from medtrans.networks.norms import Norm, has_offset, is_batch
from medtrans.networks.padding import crop_to, pad_to_multiple
from medtrans.networks.spectral import spectrally_normalised

BIGAN_CHANNELS = (32, 64, 128, 256, 256)


def innermost_size(image_size: Sequence[int], steps: int) -> list[int]:
    """Spatial size of the features after ``steps`` convolutions of stride 2.

    Raises:
        ValueError: the image is smaller than one step of each convolution needs.
    """
    if steps < 1 or min(image_size) < 2**steps:
        raise ValueError(f"an image of {list(image_size)} cannot be halved {steps} times: give fewer channels")
    return [math.ceil(size / 2**steps) for size in image_size]


class BiGAN(nn.Module):
    """Encoder E and generator G of a BiGAN (Donahue 2017); called with an image it reconstructs it: G(E(x)).

    ``(B, in_channels, *image_size)`` in [-1, 1] in and out. With ``of`` and ``to`` it goes from ``"image"`` to
    ``"code"`` ``(B, code, 1, 1[, 1])`` or back. E has convolutions 4×4 of stride 2 with LeakyReLU 0.2, a norm after all
    but the first, and a convolution over what is left to the code; G, with ReLU, is its mirror image (as DCGAN).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        image_size: spatial size of the images, fixed by the code's layer; any numbers.
        channels: filters of E from outside in, one entry a step down; five for 64-256 pixels.
        code: numbers in a code; the paper takes 50 for MNIST and 200 for ImageNet.
        norm: MONAI norm specification.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        image_size: Sequence[int],
        channels: Sequence[int] = BIGAN_CHANNELS,
        code: int = 200,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        dims, inner = spatial_dims, innermost_size(image_size, len(channels))
        convolution, transposed = Conv["conv", dims], Conv["convtrans", dims]
        self.code, self.multiple, self.image_size = code, 2 ** len(channels), list(image_size)

        def normalised(width: int) -> list[nn.Module]:
            return [] if norm is None else [get_norm_layer(norm, dims, width)]

        bias = not has_offset(norm) and not is_batch(norm)
        encoder: list[nn.Module] = [convolution(in_channels, channels[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for width, deeper in pairwise(channels):
            encoder += [convolution(width, deeper, 4, 2, 1, bias=bias), *normalised(deeper), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*encoder, convolution(channels[-1], code, tuple(inner)))

        generator: list[nn.Module] = [transposed(code, channels[-1], tuple(inner), bias=bias)]
        for deeper, width in pairwise(reversed(channels)):
            generator += [*normalised(deeper), nn.ReLU(), transposed(deeper, width, 4, 2, 1, bias=bias)]
        last = transposed(channels[0], in_channels, 4, 2, 1)
        self.generator = nn.Sequential(*generator, *normalised(channels[0]), nn.ReLU(), last, nn.Tanh())
        self.apply(normal_init)

    def forward(self, x: Tensor, of: str = "image", to: str = "image") -> Tensor:
        """Reconstruct an image, encode it (``to="code"``) or generate one (``of="code"``)."""
        if of == "image":
            x = self.encoder(pad_to_multiple(x, self.multiple))
        elif of != "code":
            raise ValueError("of is image or code")
        if to == "image":
            return crop_to(self.generator(x), self.image_size)
        elif to != "code":
            raise ValueError("to is image or code")
        return x


class BiGANDiscriminator(nn.Module):
    """Tells (x, E(x)) from (G(z), z). Its image branch is Cycle-MedGAN's feature extractor.

    Called with an image and its code it returns the image branch's hidden layers and, last, the logits ``(B, 1)``;
    called with an image of any size alone, the hidden layers only. Spectral norm stands in the place of the paper's
    batch norm, with which features depend on the rest of the batch and on the mode, and not on the mean intensity.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        image_size: as the :class:`BiGAN`'s.
        channels: filters of the image branch, one entry a step down.
        code: numbers in a code.
        joint: width of the layers that see both.
        norm: MONAI norm specification in the image branch, not on its first layer.
        spectral: divide every weight by its largest singular value.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        image_size: Sequence[int],
        channels: Sequence[int] = BIGAN_CHANNELS,
        code: int = 200,
        joint: int = 512,
        norm: Norm = None,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        inner = innermost_size(image_size, len(channels))
        self.multiple = 2 ** len(channels)
        self.image_branch = image_branch(spatial_dims, in_channels, channels, norm)
        self.image_head = nn.Linear(channels[-1] * math.prod(inner), joint)
        self.code_branch = nn.Sequential(
            nn.Linear(code, joint), nn.LeakyReLU(0.2), nn.Linear(joint, joint), nn.LeakyReLU(0.2)
        )
        self.joint = nn.Sequential(nn.Linear(2 * joint, joint), nn.LeakyReLU(0.2), nn.Linear(joint, 1))
        self.apply(normal_init)
        if spectral:
            spectrally_normalised(self)

    def forward(self, image: Tensor, code: Tensor | None = None) -> list[Tensor]:
        """Hidden layers of the image branch, then, with a code, the logits."""
        found, features = [], pad_to_multiple(image, self.multiple)
        for stage in self.image_branch:
            features = stage(features)
            found.append(features)
        if code is not None:
            seen = nn.functional.leaky_relu(self.image_head(features.flatten(1)), 0.2)
            found.append(self.joint(torch.cat([seen, self.code_branch(code.flatten(1))], dim=1)))
        return found


def image_branch(spatial_dims: int, in_channels: int, channels: Sequence[int], norm: Norm) -> nn.ModuleList:
    """Convolutions 4×4 of stride 2 with LeakyReLU 0.2, a norm on all but the first."""
    stages, entering = nn.ModuleList(), in_channels
    for width in channels:
        normalised = norm is not None and len(stages) > 0
        bias = not (normalised and has_offset(norm))
        stage: list[nn.Module] = [Conv["conv", spatial_dims](entering, width, 4, 2, 1, bias=bias)]
        if normalised:
            stage.append(get_norm_layer(norm, spatial_dims, width))  # type: ignore[arg-type]
        stages.append(nn.Sequential(*stage, nn.LeakyReLU(0.2)))
        entering = width
    return stages
