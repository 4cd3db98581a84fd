"""Real World Value Mapping: slope, intercept and unit of values, where the header gives them that way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

# UCUM codes of PS3.16 CID 84 and 85, as the Units and SUVType of a classic PET image.
PET_UNITS: dict[str, tuple[str, str | None]] = {
    "bq/ml": ("BQML", None),
    "{counts}": ("CNTS", None),
    "g/ml{suvbw}": ("GML", "BW"),
    "g/ml{suvlbm}": ("GML", "LBM"),
    "g/ml{suvlbm(james128)}": ("GML", "LBMJAMES128"),
    "g/ml{suvlbmjames128}": ("GML", "LBMJAMES128"),
    "g/ml{suvlbm(janma)}": ("GML", "LBMJANMA"),
    "g/ml{suvlbmjanma}": ("GML", "LBMJANMA"),
    "g/ml{suvibw}": ("GML", "IBW"),
    "cm2/ml{suvbsa}": ("CM2ML", "BSA"),
}
BEST_FIRST = ("bq/ml", "g/ml{suvbw}")


def real_world_values(item: Dataset, modality: str, rescaled: bool) -> dict[str, Any]:
    """RescaleSlope, RescaleIntercept and units out of the mappings of ``item``; empty when they are not to be used.

    PET: the mapping to Bq/ml, else to SUV by body weight, else to another unit known here, even where there is a
    rescale slope too, because only the mapping says which unit it gives (PS3.3 C.8.22 has no Units). All others: the
    rescale slope comes first, so that all images of a scanner are read alike; without one, the only linear mapping.

    Args:
        item: an image, or a functional group.
        modality: of the image.
        rescaled: whether a rescale slope is known that comes first.
    """
    from medtrans.scans.export.headers import plain

    mappings = {}
    for mapping in item.get("RealWorldValueMappingSequence") or ():
        slope, intercept = (plain(mapping.get(f"RealWorldValue{name}")) for name in ("Slope", "Intercept"))
        if isinstance(slope, (int, float)) and slope:
            mappings[_unit(mapping)] = {
                "RescaleSlope": float(slope),
                "RescaleIntercept": float(intercept or 0.0),
                "RealWorldValues": True,
            }
    if modality == "PT":
        known = sorted((unit for unit in mappings if unit.lower() in PET_UNITS), key=_preference)
        return mappings[known[0]] | _pet_unit(known[0]) if known else {}
    if rescaled or len(mappings) != 1:
        return {}
    unit, values = next(iter(mappings.items()))
    return values | ({"RealWorldUnit": unit} if unit not in ("", "1") else {})


def _preference(unit: str) -> int:
    return BEST_FIRST.index(unit.lower()) if unit.lower() in BEST_FIRST else len(BEST_FIRST)


def _pet_unit(unit: str) -> dict[str, str]:
    units, kind = PET_UNITS[unit.lower()]
    return {"Units": units} | ({"SUVType": kind} if kind else {})


def _unit(mapping: Dataset) -> str:
    codes: Sequence[Dataset] = mapping.get("MeasurementUnitsCodeSequence") or ()
    for code in codes[:1]:
        for name in ("CodeValue", "LongCodeValue"):
            if code.get(name):
                return str(code.get(name)).strip()
    return ""
