"""Two convolutions: the smallest network that can translate, a lower bound for all others."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from torch import Tensor, nn


class TwoConvolutions(nn.Module):
    """Convolution, ReLU, convolution: the model called Simple in Welander et al. 2018 (sec. 2.1).

    Input ``(B, in_channels, *spatial)`` in [-1, 1], output ``(B, out_channels, *spatial)`` in [-1, 1]; any size. The
    paper says no more than "two convolutional layers".

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the source image.
        out_channels: channels of the target image.
        filters: of the first convolution.
        kernel_size: odd; an output voxel depends on ``2 * kernel_size - 1`` voxels along each axis.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, filters: int = 64, kernel_size: int = 3
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is odd, got {kernel_size}")
        convolution, padding = Conv["conv", spatial_dims], kernel_size // 2
        self.layers = nn.Sequential(
            convolution(in_channels, filters, kernel_size, padding=padding, padding_mode="replicate"),
            nn.ReLU(),
            convolution(filters, out_channels, kernel_size, padding=padding, padding_mode="replicate"),
            nn.Tanh(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Translate ``image``; see the class for shapes and ranges."""
        return self.layers(image)
