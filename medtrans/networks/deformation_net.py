"""The deformation network: how an image has to be displaced to lie on another one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets import VoxelMorphUNet
from torch import Tensor, nn

from medtrans.networks.padding import crop_to, pad_to_multiple

CHANNELS = (16, 32, 32, 32, 32, 32)
LINEAR = {2: "bilinear", 3: "trilinear"}


class DeformationNet(nn.Module):
    """VoxelMorph's U-Net over a pair of images on a coarser grid (Balakrishnan et al., IEEE TMI 2019).

    It starts as the identity: its last convolution is zero. The field is found on a grid coarser by ``shrink``, then
    interpolated: a small network, cheap beside a generator, that cannot displace single voxels.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of each of the two images.
        channels: filters of :class:`monai.networks.nets.VoxelMorphUNet`, a pair (down, up) a level.
        final_channels: filters of its last convolutions.
        shrink: how many voxels of the images make one of the grid on which the field is found.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int = 1,
        channels: Sequence[int] = CHANNELS,
        final_channels: Sequence[int] = (16,),
        shrink: int = 4,
    ) -> None:
        super().__init__()
        if shrink < 1:
            raise ValueError(f"shrink is at least 1, got {shrink}")
        self.shrink, self.multiple = int(shrink), int(shrink) * 2 ** (len(channels) // 2)
        self.average = {2: F.avg_pool2d, 3: F.avg_pool3d}[spatial_dims]
        self.mode = LINEAR[spatial_dims]
        self.unet = VoxelMorphUNet(spatial_dims, 2 * in_channels, channels[1], channels, final_channels)
        last = [module for module in self.unet.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)][-1]
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """The field φ in voxels: what belongs at ``fixed``'s position p is found in ``moving`` at p + φ(p).

        Args:
            moving: ``(B, C, *spatial)`` of any spatial size.
            fixed: of the same shape.

        Returns:
            ``(B, spatial_dims, *spatial)``, float32, in the order of the spatial axes.
        """
        pair = torch.cat([moving, fixed], dim=1)
        size = list(pair.shape[2:])
        pair = pad_to_multiple(pair, self.multiple)
        field = self.unet(self.average(pair, self.shrink))
        field = field.to(torch.promote_types(pair.dtype, torch.float32)) * self.shrink  # not in autocast's precision
        if self.shrink > 1:
            field = F.interpolate(field, size=pair.shape[2:], mode=self.mode, align_corners=False)
        return crop_to(field, size)
