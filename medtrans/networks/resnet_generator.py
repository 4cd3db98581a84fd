"""CycleGAN's generator: down twice, residual blocks, up twice."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from monai.networks.utils import normal_init
from torch import Tensor, nn

from medtrans.networks.norms import AFFINE_FREE, Norm, has_offset, is_batch
from medtrans.networks.padding import crop_to, pad_to_multiple
from medtrans.networks.residual_block import ResidualBlock


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, nine residual blocks R256, u128, u64, c7s1-out, Tanh (Zhu 2017, appendix 7.2).

    Input ``(B, in_channels, *spatial)``, output ``(B, out_channels, *spatial)``, both in [-1, 1]. Sizes that are not
    multiples of 4 are padded by replication and the output is cropped back. Borders are reflected, weights start from
    N(0, 0.02). With the defaults and one channel it has the 11,365,633 parameters of the public implementation.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the source image.
        out_channels: channels of the target image.
        channels: filters of the first convolution, doubled at each step down.
        blocks: residual blocks; the paper takes 9 for images of 256 pixels and more, 6 for 128.
        norm: MONAI norm specification.
        dropout: probability inside the residual blocks; the paper has none.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: int = 64,
        blocks: int = 9,
        norm: Norm = AFFINE_FREE,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if blocks < 0 or channels < 1:
            raise ValueError(f"blocks is at least 0 and channels at least 1, got {blocks} and {channels}")
        convolution, transposed = Conv["conv", spatial_dims], Conv["convtrans", spatial_dims]
        bias = not has_offset(norm) and not is_batch(norm)
        self.multiple = 4

        def finished(layer: nn.Module, width: int) -> list[nn.Module]:
            normalised = [] if norm is None else [get_norm_layer(norm, spatial_dims, width)]
            return [layer, *normalised, nn.ReLU(inplace=True)]

        first = convolution(in_channels, channels, 7, padding=3, padding_mode="reflect", bias=bias)
        layers = finished(first, channels)
        for width in (channels, 2 * channels):
            layers += finished(convolution(width, 2 * width, 3, 2, 1, bias=bias), 2 * width)
        layers += [ResidualBlock(spatial_dims, 4 * channels, norm, dropout=dropout) for _ in range(blocks)]
        for width in (4 * channels, 2 * channels):
            layers += finished(transposed(width, width // 2, 3, 2, 1, 1, bias=bias), width // 2)
        layers += [convolution(channels, out_channels, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(normal_init)

    def forward(self, image: Tensor) -> Tensor:
        """Translate ``image``; see the class for shapes and ranges."""
        size = list(image.shape[2:])
        return crop_to(self.layers(pad_to_multiple(image, self.multiple)), size)
