"""Phantoms and physical degradations that make training data."""

from medtrans.simulate.mr import MRMotion, MRMotiond, UndersampledMR, UndersampledMRd
from medtrans.simulate.phantom import LABELS, MODALITIES, TISSUES, HeadPhantom, Lesion
from medtrans.simulate.resolution import LowResolution, LowResolutiond
from medtrans.simulate.tomography import LowCountPET, LowCountPETd

__all__ = [
    "LABELS",
    "MODALITIES",
    "TISSUES",
    "HeadPhantom",
    "Lesion",
    "LowCountPET",
    "LowCountPETd",
    "LowResolution",
    "LowResolutiond",
    "MRMotion",
    "MRMotiond",
    "UndersampledMR",
    "UndersampledMRd",
]
