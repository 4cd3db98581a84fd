"""MONAI transforms that align, resample and scale images, and invert."""

from medtrans.transforms.intensity import FixedWindow, PercentileWindow
from medtrans.transforms.window import Window

__all__ = ["FixedWindow", "PercentileWindow", "Window"]
