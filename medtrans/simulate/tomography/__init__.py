"""Tomography: projections of slices, their reconstruction, and what few counts do to both."""

from medtrans.simulate.tomography.pet import LowCountPET, LowCountPETd
from medtrans.simulate.tomography.projector import ParallelBeam, parallel_beam
from medtrans.simulate.tomography.reconstruction import WINDOWS, filtered_backprojection, osem

__all__ = [
    "WINDOWS",
    "LowCountPET",
    "LowCountPETd",
    "ParallelBeam",
    "filtered_backprojection",
    "osem",
    "parallel_beam",
]
