"""Degradations of MR images."""

from medtrans.simulate.mr.acquisition import SEQUENCES, Partitions, Slices
from medtrans.simulate.mr.motion import MRMotion, MRMotiond
from medtrans.simulate.mr.trajectories import KINDS

__all__ = ["KINDS", "SEQUENCES", "MRMotion", "MRMotiond", "Partitions", "Slices"]
