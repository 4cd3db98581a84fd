"""The residual U-Net of regression without an adversary: MONAI's DynUNet, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import DynUNet
from torch import Tensor, nn

from medtrans.networks.norms import INSTANCE, Norm
from medtrans.networks.padding import crop_to, pad_to_multiple

CHANNELS = (32, 64, 128, 256, 512, 512)


class ResidualUNet(nn.Module):
    """nnU-Net's U-Net with residual blocks (Isensee 2021, 2024), its last layer a regression.

    Input ``(B, in_channels, *spatial)`` in [-1, 1], output ``(B, out_channels, *spatial)``. Spatial sizes that are not
    multiples of ``2 ** (len(channels) - 1)`` are padded by replication and the output is cropped back; at the
    innermost level more than one position must be left.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the source image.
        out_channels: channels of the target image.
        channels: filters of each level from outside in, at least 3; every level but the first halves the size.
        norm: MONAI norm specification.
        activation: ``"tanh"`` bounds the output to [-1, 1], where the background is -1; None leaves it linear, as
            nnU-Net's regressions do.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = CHANNELS,
        norm: Norm = INSTANCE,
        activation: str | None = "tanh",
    ) -> None:
        super().__init__()
        if len(channels) < 3:
            raise ValueError(f"a residual U-Net needs at least three levels, got channels={list(channels)}")
        if activation not in ("tanh", None):
            raise ValueError(f"activation is 'tanh' or None, got {activation!r}")
        halvings = len(channels) - 1
        self.multiple = 2**halvings
        self.activation = nn.Tanh() if activation == "tanh" else nn.Identity()
        self.unet = DynUNet(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=[3] * len(channels),
            strides=[1, *[2] * halvings],
            upsample_kernel_size=[2] * halvings,
            filters=list(channels),
            norm_name=norm,  # type: ignore[arg-type]
            res_block=True,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Translate ``image``; see the class for shapes and ranges."""
        size = list(image.shape[2:])
        return crop_to(self.activation(self.unet(pad_to_multiple(image, self.multiple))), size)
