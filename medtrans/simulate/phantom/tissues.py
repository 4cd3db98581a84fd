"""What each tissue of the head is made of, to an MR scanner at 3 T, to CT and to FDG-PET."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """Physical properties of one tissue.

    Args:
        t1: longitudinal relaxation time in ms at 3 T.
        t2: transverse relaxation time in ms at 3 T.
        pd: proton density relative to water, 0..1.
        hu: CT number in Hounsfield units.
        suv: FDG uptake as standardised uptake value.
    """

    t1: float
    t2: float
    pd: float
    hu: float
    suv: float


# Relaxation times are of the order of Stanisz et al. 2005 (doi 10.1002/mrm.20605), CT numbers of textbook tables;
# cortical bone has the signal void of a conventional echo time. They are chosen for contrast, not measured.
TISSUES: dict[str, Tissue] = {
    "air": Tissue(t1=1000, t2=10, pd=0.00, hu=-1000, suv=0.00),
    "skin": Tissue(t1=900, t2=45, pd=0.70, hu=35, suv=0.60),
    "fat": Tissue(t1=380, t2=100, pd=0.72, hu=-100, suv=0.25),
    "muscle": Tissue(t1=1250, t2=42, pd=0.80, hu=58, suv=0.90),
    "cortical bone": Tissue(t1=600, t2=2, pd=0.15, hu=1350, suv=0.35),
    "bone marrow": Tissue(t1=480, t2=75, pd=0.42, hu=520, suv=0.90),
    "cerebrospinal fluid": Tissue(t1=4200, t2=1400, pd=1.00, hu=8, suv=0.40),
    "grey matter": Tissue(t1=1350, t2=98, pd=0.82, hu=39, suv=8.00),
    "white matter": Tissue(t1=830, t2=72, pd=0.70, hu=29, suv=2.60),
    "deep grey matter": Tissue(t1=1080, t2=80, pd=0.78, hu=38, suv=8.20),
    "dura": Tissue(t1=1100, t2=20, pd=0.55, hu=62, suv=1.20),
    "vitreous body": Tissue(t1=4000, t2=1200, pd=0.99, hu=10, suv=0.20),
    "lens": Tissue(t1=1200, t2=30, pd=0.70, hu=85, suv=0.20),
    "mucosa": Tissue(t1=1500, t2=130, pd=0.85, hu=40, suv=1.50),
    "cerebellar grey matter": Tissue(t1=1280, t2=92, pd=0.81, hu=40, suv=6.80),
    "brainstem": Tissue(t1=980, t2=78, pd=0.72, hu=32, suv=2.80),
    "lesion core": Tissue(t1=2200, t2=220, pd=0.92, hu=20, suv=2.00),
    "lesion rim": Tissue(t1=1500, t2=140, pd=0.85, hu=34, suv=9.50),
    "oedema": Tissue(t1=1650, t2=150, pd=0.86, hu=22, suv=2.40),
}
#: label map value of every tissue; 0 is air
LABELS: dict[str, int] = {name: label for label, name in enumerate(TISSUES)}

BONE = ("cortical bone", "bone marrow")


def individual_tissues(rng: np.random.Generator) -> dict[str, Tissue]:
    """The tissues of one person: :data:`TISSUES` varied by a few per cent (bone by 60 HU, soft tissue by 1.5 HU)."""

    def deviation() -> float:
        return float(np.clip(rng.standard_normal(), -2.0, 2.0))

    varied = {}
    for name, tissue in TISSUES.items():
        hu_spread = 0.0 if name == "air" else 60.0 if name in BONE else 1.5
        varied[name] = Tissue(
            t1=tissue.t1 * (1 + 0.035 * deviation()),
            t2=tissue.t2 * (1 + 0.04 * deviation()),
            pd=tissue.pd * (1 + 0.015 * deviation()),
            hu=tissue.hu + hu_spread * deviation(),
            suv=tissue.suv * (1 + 0.08 * deviation()),
        )
    return varied
