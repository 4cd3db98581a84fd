"""How bright a tissue is in each modality: the MR signal equations, CT numbers and PET uptake."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from medtrans.simulate.phantom.tissues import Tissue

MODALITIES = ("T1", "T2", "PD", "FLAIR", "CT", "PET")
MR = ("T1", "T2", "PD", "FLAIR")
#: MR intensity of a fully relaxed voxel of water: MR units are arbitrary, this is a scanner's order of magnitude
WATER_SIGNAL = 1000.0


def spin_echo(tissue: Tissue, tr: float, te: float) -> float:
    """Spin-echo signal as a fraction of fully relaxed water: PD (1 - exp(-TR/T1)) exp(-TE/T2); times in ms.

    Source: Bernstein, King, Zhou, "Handbook of MRI Pulse Sequences" (2004), section 14.3.
    """
    return tissue.pd * (1 - math.exp(-tr / tissue.t1)) * math.exp(-te / tissue.t2)


def inversion_recovery(tissue: Tissue, ti: float, tr: float, te: float) -> float:
    """Magnitude inversion-recovery signal: PD |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2); times in ms.

    Source: Bernstein, King, Zhou, "Handbook of MRI Pulse Sequences" (2004), section 14.2.
    """
    recovered = abs(1 - 2 * math.exp(-ti / tissue.t1) + math.exp(-tr / tissue.t1))
    return tissue.pd * recovered * math.exp(-te / tissue.t2)


@dataclass(frozen=True)
class Protocol:
    """Sequence timings of one examination, in ms.

    T1 and FLAIR are inversion recoveries (the first at the null of nothing, the second at that of fluid), T2 and PD
    spin echoes.
    """

    t1_ti: float = 1000.0
    t1_tr: float = 2000.0
    t1_te: float = 3.0
    t2_tr: float = 5000.0
    t2_te: float = 95.0
    pd_tr: float = 3000.0
    pd_te: float = 14.0
    flair_ti: float = 2500.0
    flair_tr: float = 9000.0
    flair_te: float = 110.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Protocol:
        """Timings of one examination: they differ a little from scanner to scanner."""
        return cls(
            t1_ti=rng.uniform(960, 1040),
            t2_tr=rng.uniform(4500, 5500),
            t2_te=rng.uniform(88, 102),
            flair_ti=rng.uniform(2450, 2550),
            flair_te=rng.uniform(100, 120),
        )

    def value(self, modality: str, tissue: Tissue) -> float:
        """What a voxel full of ``tissue`` shows: MR in arbitrary units, CT in HU, PET in SUV."""
        if modality == "CT":
            return tissue.hu
        if modality == "PET":
            return tissue.suv
        return (
            WATER_SIGNAL
            * {
                "T1": lambda: inversion_recovery(tissue, self.t1_ti, self.t1_tr, self.t1_te),
                "T2": lambda: spin_echo(tissue, self.t2_tr, self.t2_te),
                "PD": lambda: spin_echo(tissue, self.pd_tr, self.pd_te),
                "FLAIR": lambda: inversion_recovery(tissue, self.flair_ti, self.flair_tr, self.flair_te),
            }[modality]()
        )
