"""Degradations of MR images."""

from medtrans.simulate.mr.acquisition import SEQUENCES, Partitions, Slices
from medtrans.simulate.mr.motion import MRMotion, MRMotiond

__all__ = ["SEQUENCES", "MRMotion", "MRMotiond", "Partitions", "Slices"]
