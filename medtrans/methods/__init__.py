"""How one batch updates a set of networks."""

from medtrans.methods.bigan import BiGANPretraining
from medtrans.methods.cycle import CycleTranslation
from medtrans.methods.image_pool import ImagePool
from medtrans.methods.linear_decay import LinearDecay
from medtrans.methods.method import Batch, Method, Stepper, frozen
from medtrans.methods.paired import PairedTranslation
from medtrans.methods.two_way import TwoWayTranslation
from medtrans.methods.unit import UnitTranslation

__all__ = [
    "Batch",
    "BiGANPretraining",
    "CycleTranslation",
    "ImagePool",
    "LinearDecay",
    "Method",
    "PairedTranslation",
    "Stepper",
    "TwoWayTranslation",
    "UnitTranslation",
    "frozen",
]
