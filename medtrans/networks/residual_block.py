"""The residual block that CycleGAN's and UNIT's networks are made of."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from medtrans.networks.norms import Norm, has_offset


class ResidualBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), convolutions 3×3, the size and number of channels kept.

    Args:
        spatial_dims: 2 or 3.
        channels: in and out.
        norm: MONAI norm specification.
        padding_mode: of the convolutions, ``"reflect"`` or ``"zeros"``.
        dropout: probability after the first activation (CycleGAN's place for it).
        final_dropout: probability at the end, before the addition (UNIT's).
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        norm: Norm,
        padding_mode: str = "reflect",
        dropout: float = 0.0,
        final_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            bias = not has_offset(norm)
            layers.append(
                Conv["conv", spatial_dims](channels, channels, 3, padding=1, padding_mode=padding_mode, bias=bias)
            )
            if norm is not None:
                layers.append(get_norm_layer(norm, spatial_dims, channels))
            if not last:
                layers.append(nn.ReLU(inplace=True))
            probability = final_dropout if last else dropout
            if probability:
                layers.append(nn.Dropout(probability))
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, *spatial)`` in and out."""
        return x + self.branch(x)
