"""Degradations of MR images."""

from medtrans.simulate.mr.acquisition import SEQUENCES, Partitions, Slices
from medtrans.simulate.mr.bias_field import BiasField, BiasFieldd
from medtrans.simulate.mr.gibbs_ringing import GibbsRinging, GibbsRingingd
from medtrans.simulate.mr.motion import MRMotion, MRMotiond
from medtrans.simulate.mr.rician_noise import RicianNoise, RicianNoised
from medtrans.simulate.mr.spikes import KSpaceSpikes, KSpaceSpikesd
from medtrans.simulate.mr.undersampling import SAMPLINGS, UndersampledMR, UndersampledMRd

__all__ = [
    "SAMPLINGS",
    "SEQUENCES",
    "BiasField",
    "BiasFieldd",
    "GibbsRinging",
    "GibbsRingingd",
    "KSpaceSpikes",
    "KSpaceSpikesd",
    "MRMotion",
    "MRMotiond",
    "Partitions",
    "RicianNoise",
    "RicianNoised",
    "Slices",
    "UndersampledMR",
    "UndersampledMRd",
]
