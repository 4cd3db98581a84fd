"""The U-block: the encoder-decoder with skip connections that MedGAN's generator chains and pix2pix uses alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_dropout_layer, get_norm_layer
from monai.networks.utils import normal_init
from torch import Tensor, nn

from medtrans.networks.norms import INSTANCE, Norm, has_offset, is_batch
from medtrans.networks.padding import crop_to, pad_to_multiple

MEDGAN_CHANNELS = (64, 128, 256, 512, 512, 512, 512, 512)


class UBlock(nn.Module):
    """Encoder of 4×4 stride-2 convolutions, mirrored decoder, skips by concatenation (MedGAN sec. 2.4; pix2pix).

    Input ``(B, in_channels, *spatial)`` in [-1, 1], output ``(B, out_channels, *spatial)`` in [-1, 1] for the default
    activation. Spatial sizes that are not multiples of ``2 ** len(channels)`` are padded by replication and the output
    is cropped back. The norm follows every convolution but the first (as pix2pix) and the innermost, which is 1×1 at
    the paper's size and would be erased; it follows every transposed convolution but the last.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the source image.
        out_channels: channels of the target image.
        channels: filters of the encoder from outside in; their number is the number of levels (at least 2).
        norm: MONAI norm specification. The paper says batch norm and trains at batch size 1, which is instance norm.
        dropout: probability in the three decoder stages next to the innermost one; pix2pix has 0.5, MedGAN names none.
        activation: ``"tanh"`` or None (linear) at the output.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = MEDGAN_CHANNELS,
        norm: Norm = INSTANCE,
        dropout: float = 0.0,
        activation: str | None = "tanh",
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"a U-block needs at least two levels, got channels={list(channels)}")
        if activation not in ("tanh", None):
            raise ValueError(f"activation is 'tanh' or None, got {activation!r}")
        convolution, transposed = Conv["conv", spatial_dims], Conv["convtrans", spatial_dims]
        # As in pix2pix, batch norm goes with no bias but the last one, also where a layer has no norm.
        bias = {True: not has_offset(norm), False: not is_batch(norm)}  # by whether a norm follows
        self.multiple = 2 ** len(channels)

        self.encoder = nn.ModuleList()
        for level, width in enumerate(channels):
            first, innermost = level == 0, level == len(channels) - 1
            normalised = norm is not None and not (first or innermost)
            entering = in_channels if first else channels[level - 1]
            stage: list[nn.Module] = [convolution(entering, width, 4, 2, 1, bias=bias[normalised])]
            if normalised:
                stage.append(get_norm_layer(norm, spatial_dims, width))  # type: ignore[arg-type]
            if not innermost:
                stage.append(nn.LeakyReLU(0.2, inplace=True))
            self.encoder.append(nn.Sequential(*stage))

        self.decoder = nn.ModuleList()
        for level in range(len(channels) - 1, -1, -1):
            outermost, width = level == 0, out_channels if level == 0 else channels[level - 1]
            entering = channels[level] * (1 if level == len(channels) - 1 else 2)
            normalised = norm is not None and not outermost
            stage = [nn.ReLU(), transposed(entering, width, 4, 2, 1, bias=outermost or bias[normalised])]
            if normalised:
                stage.append(get_norm_layer(norm, spatial_dims, width))  # type: ignore[arg-type]
            if dropout and len(channels) - 4 <= level < len(channels) - 1 and not outermost:
                stage.append(get_dropout_layer(("dropout", {"p": dropout}), spatial_dims))
            if outermost and activation == "tanh":
                stage.append(nn.Tanh())
            self.decoder.append(nn.Sequential(*stage))
        self.apply(normal_init)

    def forward(self, image: Tensor) -> Tensor:
        """Translate ``image``; see the class for shapes and ranges."""
        size = list(image.shape[2:])
        image = pad_to_multiple(image, self.multiple)
        skips: list[Tensor] = []
        for stage in self.encoder:
            image = stage(image)
            skips.append(image)
        skips.pop()
        for stage in self.decoder:
            image = stage(image)
            if len(skips) > 0:
                image = torch.cat([image, skips.pop()], dim=1)
        return crop_to(image, size)
