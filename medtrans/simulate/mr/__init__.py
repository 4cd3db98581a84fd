"""Degradations of MR images."""

from medtrans.simulate.mr.acquisition import SEQUENCES, Partitions, Slices
from medtrans.simulate.mr.motion import MRMotion, MRMotiond
from medtrans.simulate.mr.undersampling import SAMPLINGS, UndersampledMR, UndersampledMRd

__all__ = [
    "SAMPLINGS",
    "SEQUENCES",
    "MRMotion",
    "MRMotiond",
    "Partitions",
    "Slices",
    "UndersampledMR",
    "UndersampledMRd",
]
