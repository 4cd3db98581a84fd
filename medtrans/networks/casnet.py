"""CasNet: MedGAN's generator, U-blocks in sequence that refine the translation step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medtrans.networks.norms import INSTANCE, Norm
from medtrans.networks.padding import crop_to, pad_to_multiple
from medtrans.networks.u_block import MEDGAN_CHANNELS, UBlock


class CasNet(nn.Module):
    """``blocks`` U-blocks end to end, the output of one the input of the next (MedGAN sec. 2.4, N = 6).

    Input ``(B, in_channels, *spatial)``, output ``(B, out_channels, *spatial)``, both in [-1, 1]; any spatial size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the source image.
        out_channels: channels of the target image.
        blocks: number of U-blocks, at least 1; 1 is pix2pix's generator.
        channels: filters of each block's encoder, see :class:`UBlock`.
        norm: MONAI norm specification.
        dropout: see :class:`UBlock`.
        intermediate_activation: what stands between blocks, ``"tanh"`` or None; the paper does not say.
        checkpointing: recompute each block in the backward pass instead of keeping its activations: less memory,
            about a third more time, the same gradients.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        blocks: int = 6,
        channels: Sequence[int] = MEDGAN_CHANNELS,
        norm: Norm = INSTANCE,
        dropout: float = 0.0,
        intermediate_activation: str | None = "tanh",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"a CasNet has at least one block, got blocks={blocks}")
        self.checkpointing = checkpointing
        self.multiple = 2 ** len(channels)
        self.blocks = nn.ModuleList(
            UBlock(
                spatial_dims,
                in_channels if index == 0 else out_channels,
                out_channels,
                channels,
                norm,
                dropout,
                activation="tanh" if index == blocks - 1 else intermediate_activation,
            )
            for index in range(blocks)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Translate ``image``; see the class for shapes and ranges."""
        size = list(image.shape[2:])
        image = pad_to_multiple(image, self.multiple)
        for block in self.blocks:
            if torch.jit.is_scripting():
                image = block(image)
            elif self.checkpointing and self.training:
                image = checkpoint(block, image, use_reentrant=False)
            else:
                image = block(image)
        return crop_to(image, size)
