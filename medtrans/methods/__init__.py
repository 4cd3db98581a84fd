"""How one batch updates a set of networks."""

from medtrans.methods.method import Batch, Method, Stepper, frozen
from medtrans.methods.paired import PairedTranslation

__all__ = ["Batch", "Method", "PairedTranslation", "Stepper", "frozen"]
