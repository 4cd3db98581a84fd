"""Tomography: projections of slices, their reconstruction, and what few counts do to both."""

from medtrans.simulate.tomography.low_dose_ct import LowDoseCT, LowDoseCTd
from medtrans.simulate.tomography.metal_artefact_ct import METALS, MetalArtefactCT, MetalArtefactCTd
from medtrans.simulate.tomography.pet import LowCountPET, LowCountPETd
from medtrans.simulate.tomography.projector import ParallelBeam, parallel_beam
from medtrans.simulate.tomography.reconstruction import WINDOWS, filtered_backprojection, osem
from medtrans.simulate.tomography.ring_artefact_ct import RingArtefactCT, RingArtefactCTd
from medtrans.simulate.tomography.sparse_view_ct import SparseViewCT, SparseViewCTd

__all__ = [
    "METALS",
    "WINDOWS",
    "LowCountPET",
    "LowCountPETd",
    "LowDoseCT",
    "LowDoseCTd",
    "MetalArtefactCT",
    "MetalArtefactCTd",
    "ParallelBeam",
    "RingArtefactCT",
    "RingArtefactCTd",
    "SparseViewCT",
    "SparseViewCTd",
    "filtered_backprojection",
    "osem",
    "parallel_beam",
]
