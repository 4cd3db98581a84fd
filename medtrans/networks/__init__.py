"""One file an architecture, ``spatial_dims`` 2 or 3."""

from medtrans.networks.bigan import BiGAN, BiGANDiscriminator
from medtrans.networks.bigan_features import BiGANFeatures
from medtrans.networks.casnet import CasNet
from medtrans.networks.deformation_net import DeformationNet
from medtrans.networks.frozen_network import FrozenNetwork
from medtrans.networks.medical_features import MedicalFeatures
from medtrans.networks.multi_scale_discriminator import MultiScaleDiscriminator
from medtrans.networks.patch_discriminator import PatchDiscriminator
from medtrans.networks.random_features import RandomFeatures
from medtrans.networks.residual_unet import ResidualUNet
from medtrans.networks.resnet_generator import ResNetGenerator
from medtrans.networks.self_attention import SelfAttention
from medtrans.networks.spectral import folded, spectrally_normalised
from medtrans.networks.two_convolutions import TwoConvolutions
from medtrans.networks.u_block import UBlock
from medtrans.networks.unit import UNIT
from medtrans.networks.vgg19 import VGG19Features

__all__ = [
    "UNIT",
    "BiGAN",
    "BiGANDiscriminator",
    "BiGANFeatures",
    "CasNet",
    "DeformationNet",
    "FrozenNetwork",
    "MedicalFeatures",
    "MultiScaleDiscriminator",
    "PatchDiscriminator",
    "RandomFeatures",
    "ResNetGenerator",
    "ResidualUNet",
    "SelfAttention",
    "TwoConvolutions",
    "UBlock",
    "VGG19Features",
    "folded",
    "spectrally_normalised",
]
