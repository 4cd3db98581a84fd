"""One file an architecture, ``spatial_dims`` 2 or 3."""

from medtrans.networks.casnet import CasNet
from medtrans.networks.patch_discriminator import PatchDiscriminator
from medtrans.networks.u_block import UBlock
from medtrans.networks.vgg19 import VGG19Features

__all__ = ["CasNet", "PatchDiscriminator", "UBlock", "VGG19Features"]
