"""The head phantom, taken apart: tissues and signals, fields and shapes, anatomy layer by layer, images."""

from medtrans.simulate.phantom.head import VERSION, HeadPhantom
from medtrans.simulate.phantom.individual import Lesion
from medtrans.simulate.phantom.signals import MODALITIES
from medtrans.simulate.phantom.tissues import LABELS, TISSUES

__all__ = ["LABELS", "MODALITIES", "TISSUES", "VERSION", "HeadPhantom", "Lesion"]
