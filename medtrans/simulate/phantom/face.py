"""The face: bones, sinuses and nose, mouth and throat, eyes, and the muscles between."""

from __future__ import annotations

import torch

from medtrans.simulate.phantom.canvas import Structure
from medtrans.simulate.phantom.scalp import outside_dura
from medtrans.simulate.phantom.shapes import Capsule, Ellipsoid, Implicit, Place, Shape, above, inside

ZYGOMATIC_ARCH = Capsule((54, 60, -50), (68, 14, -48), 4.5, paired=True)
JAW_RAMUS = Capsule((52, 4, -56), (47, 18, -104), 7.0, 6.5, paired=True)
JAW_BODY = Capsule((47, 18, -104), (8, 78, -116), 7.5, paired=True)
MAXILLA = (
    Ellipsoid((24, 60, -62), (25, 24, 24), paired=True) | Ellipsoid((44, 60, -51), (13, 13, 11), paired=True)
).blended(5.0)
PALATE = Ellipsoid((0, 58, -82), (26, 32, 9)) & above(-92)
NASAL_BONE = Capsule((0, 84, -30), (0, 94, -46), 3.5)
ORBIT = Ellipsoid((31, 54, -32), (22, 31, 21), paired=True) - Ellipsoid((31, 62, -32), (19, 34, 17.5), paired=True)
BONES: Shape = (ZYGOMATIC_ARCH | JAW_RAMUS | JAW_BODY | MAXILLA | PALATE | NASAL_BONE | ORBIT) & inside("skin", 4.5)

NASAL_CAVITY = Ellipsoid((0, 66, -56), (15, 30, 23)) & above(-78)
MAXILLARY_SINUS = Ellipsoid((27, 60, -61), (15, 16.5, 17), paired=True)
ETHMOID = Ellipsoid((7, 56, -29), (8, 22, 10), paired=True)
SPHENOID_SINUS = Ellipsoid((0, 22, -34), (13, 11, 8))
PHARYNX = (Capsule((0, 36, -62), (0, 17, -72), 6.5) | Capsule((0, 17, -72), (0, 13, -152), 6.5, 6.0)).blended(5.0)

EYE = (33.0, 69.0, -32.0)  # centre of the right eye; the left one is its mirror image
EYE_MUSCLES = (("lateral", 11, 0), ("medial", -11, 0), ("superior", 0, 10), ("inferior", 0, -10))


def _spongy(place: Place) -> torch.Tensor:
    return -(3 * place["pores"] + 2.4)


def _turbinates(place: Place) -> torch.Tensor:
    return 2.4 * torch.sin(0.85 * place.abs_x + 1.1 * torch.sin(0.28 * (place.z + 12))) + 0.6


def _ethmoid_cells(place: Place) -> torch.Tensor:
    return 0.9 - 4.5 * (torch.sin(0.62 * place.y) * torch.sin(0.7 * (place.z + 12))).abs()


def _within_lining(place: Place) -> torch.Tensor:
    return MAXILLARY_SINUS.distance(place) + 1.3 + 1.2 * (1 + place["scalp"]).clamp(0, 2)


def _dental_arch(place: Place) -> torch.Tensor:
    """Distance to the band of both rows of teeth, an arc open to the back."""
    arc = (((place.x / 24) ** 2 + ((place.y - 46) / 38) ** 2).sqrt() - 1).abs() * 24 - 3.2
    return torch.maximum(torch.maximum(arc, (place.z + 92).abs() - 6.5), 50 - place.y)


def _between_teeth(place: Place) -> torch.Tensor:
    return 0.55 - 1.6 * torch.cos(11 * torch.atan2(place.y - 46, place.x)).abs()


def face() -> tuple[Structure, ...]:
    """Bones with marrow, nose, sinuses, mouth and throat."""
    septum = NASAL_CAVITY.grown(-0.5) & Implicit(lambda place: place.abs_x - 0.8)
    septum_of_sphenoid = Implicit(lambda place: 0.8 - place.abs_x)
    teeth = Implicit(_dental_arch, within=((-28, 45, -100), (28, 90, -84))) & Implicit(_between_teeth)
    return (
        Structure("bones of the face", "cortical bone", BONES),
        Structure("marrow of the face", "bone marrow", BONES.grown(-2.2) & Implicit(_spongy)),
        Structure("orbital fat", "fat", Ellipsoid((30, 53, -32), (18.5, 31, 16.5), paired=True) & inside("skin", 2.5)),
        Structure("lining of the nose", "mucosa", NASAL_CAVITY),
        Structure("nasal passages", "air", NASAL_CAVITY.grown(-1.5) & Implicit(_turbinates)),
        Structure("nasal septum", "cortical bone", septum),
        Structure("lining of the maxillary sinus", "mucosa", MAXILLARY_SINUS),
        Structure("maxillary sinus", "air", MAXILLARY_SINUS & Implicit(_within_lining)),
        Structure("ethmoid bone", "cortical bone", ETHMOID),
        Structure("ethmoid cells", "air", ETHMOID.grown(-1.2) & Implicit(_ethmoid_cells)),
        Structure("sphenoid bone", "cortical bone", SPHENOID_SINUS.grown(2.0) & outside_dura(0.5)),
        Structure("sphenoid sinus", "air", SPHENOID_SINUS & septum_of_sphenoid & outside_dura(2.0)),
        Structure("tongue", "muscle", Ellipsoid((0, 48, -104), (24, 34, 14))),
        Structure("mouth", "air", Ellipsoid((0, 62, -90), (22, 26, 1.8)) & inside("skin", 5.0)),
        Structure("pharynx", "air", PHARYNX),
        Structure("teeth", "cortical bone", teeth),
        Structure("buccal fat", "fat", Capsule((58, 40, -74), (54, 52, -64), 7, 8, paired=True)),
        Structure("masseter", "muscle", Capsule((60, 30, -56), (56, 22, -98), 8, 6, paired=True)),
    )


def eyes() -> tuple[Structure, ...]:
    """Eyeballs with lenses, optic nerves and eye muscles."""
    x, y, z = EYE
    muscles = tuple(
        Structure(f"{name} rectus", "muscle", Capsule((x + dx, y - 7, z + dz), (14, 28, -30), 2.2, 1.8, paired=True))
        for name, dx, dz in EYE_MUSCLES
    )
    return (
        *muscles,
        Structure("optic nerve", "white matter", Capsule((32, 56, -32), (9, 24, -26), 2.4, paired=True)),
        Structure("sclera", "skin", Ellipsoid(EYE, (12.6, 12.6, 12.6), paired=True)),
        Structure("vitreous body", "vitreous body", Ellipsoid(EYE, (11.4, 11.4, 11.4), paired=True)),
        Structure("lens", "lens", Ellipsoid((x, y + 8, z), (4.8, 2.3, 4.8), paired=True)),
    )
