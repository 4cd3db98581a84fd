"""Phantoms and physical degradations that make training data."""

from medtrans.simulate.mr import (
    BiasField,
    BiasFieldd,
    GibbsRinging,
    GibbsRingingd,
    KSpaceSpikes,
    KSpaceSpikesd,
    MRMotion,
    MRMotiond,
    RicianNoise,
    RicianNoised,
    UndersampledMR,
    UndersampledMRd,
)
from medtrans.simulate.phantom import LABELS, MODALITIES, TISSUES, HeadPhantom, Lesion
from medtrans.simulate.resolution import LowResolution, LowResolutiond
from medtrans.simulate.tomography import LowCountPET, LowCountPETd

__all__ = [
    "LABELS",
    "MODALITIES",
    "TISSUES",
    "BiasField",
    "BiasFieldd",
    "GibbsRinging",
    "GibbsRingingd",
    "HeadPhantom",
    "KSpaceSpikes",
    "KSpaceSpikesd",
    "Lesion",
    "LowCountPET",
    "LowCountPETd",
    "LowResolution",
    "LowResolutiond",
    "MRMotion",
    "MRMotiond",
    "RicianNoise",
    "RicianNoised",
    "UndersampledMR",
    "UndersampledMRd",
]
