"""Self-attention over image positions, so that a network can relate places that no convolution spans."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """y = γ·o + x, o_j = Σ_i softmax_i(q_j · k_i) v_i over all positions i (Zhang 2018, SAGAN, eq. 1-3).

    ``(B, channels, *spatial)`` in and out. γ starts at 0, so that a new block changes nothing and attention is learnt
    gradually. The table of all pairs of positions (the square of the number of voxels) is never held in memory:
    PyTorch's fused kernels go through it in blocks, for which queries and keys are widened to the values' width with
    zeros, which leaves their products as they are.

    Args:
        spatial_dims: 2 or 3.
        channels: of the features.
        reduction: queries and keys have ``channels // reduction`` channels; SAGAN takes 8.
    """

    def __init__(self, spatial_dims: int, channels: int, reduction: int = 8) -> None:
        super().__init__()
        convolution = Conv["conv", spatial_dims]
        self.query = convolution(channels, max(1, channels // reduction), 1)
        self.key = convolution(channels, max(1, channels // reduction), 1)
        self.value = convolution(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features with what they attend to added."""
        # (B, heads = 1, positions, channels), as the kernels want it; dense, or the fast ones refuse.
        value = self.value(x).flatten(2).transpose(1, 2).unsqueeze(1)
        query = self.query(x).flatten(2).transpose(1, 2).unsqueeze(1)
        key = self.key(x).flatten(2).transpose(1, 2).unsqueeze(1)
        missing = value.size(3) - query.size(3)
        query, key = F.pad(query, [0, missing]), F.pad(key, [0, missing])
        attended = F.scaled_dot_product_attention(query, key, value.contiguous(), scale=1.0)
        # select, not squeeze: ONNX cannot tell the rank of what squeeze leaves, nor channels behind it
        return self.gamma * attended.select(1, 0).transpose(1, 2).reshape_as(x) + x
