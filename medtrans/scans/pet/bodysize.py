"""What SUV is normalised by: body weight, lean body mass, ideal weight or body surface, from the patient's tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medtrans.scans.intensity.tagchecks import no_suv, positive

HEAVIEST, TALLEST = 700.0, 2.8  # kg, m: beyond, the number is in another unit


def normaliser(kind: str, tags: dict[str, Any]) -> tuple[float, tuple[str, ...]]:
    """Grams (cm² for BSA) that the injected dose is spread over, and the tags they come from.

    Args:
        kind: as SUVType (0054,1006) has it: ``BW`` body weight; ``LBMJANMA`` lean body mass by Janmahasatian et al.,
            Clin Pharmacokinet 2005;44:1051 (the one that EANM, PERCIST and IBSI advise; James' falls again for heavy
            patients); ``LBMJAMES128`` lean body mass by James 1976; ``IBW`` ideal weight by Sugawara et al., Radiology
            1999;213:521; ``BSA`` body surface by Du Bois 1916.
        tags: PatientWeight in kg, PatientSize in m, PatientSex.

    Raises:
        InputError: a tag is missing or implausible.
    """
    weight = positive(tags, "PatientWeight", HEAVIEST)
    if kind == "BW":
        return 1000 * weight, ("PatientWeight",)
    size = positive(tags, "PatientSize", TALLEST)
    if kind == "BSA":
        return 1e4 * 0.007184 * weight**0.425 * (100 * size) ** 0.725, ("PatientWeight", "PatientSize")
    if kind not in BY_SEX:
        raise no_suv(f"SUVType {kind} is not known")
    sex = tags.get("PatientSex")
    if sex not in ("M", "F"):
        raise no_suv(f"PatientSex is {sex or 'missing'}: the formula has one for M and one for F")
    return 1000 * BY_SEX[kind](weight, size, sex == "M"), ("PatientWeight", "PatientSize", "PatientSex")


def _janmahasatian(weight: float, size: float, male: bool) -> float:
    bmi = weight / size**2
    return 9270 * weight / (6680 + 216 * bmi if male else 8780 + 244 * bmi)


def _james(weight: float, size: float, male: bool) -> float:
    squared = (weight / (100 * size)) ** 2
    return 1.10 * weight - 128 * squared if male else 1.07 * weight - 148 * squared


def _ideal(weight: float, size: float, male: bool) -> float:
    above = 100 * size - 152
    return 48.0 + 1.06 * above if male else 45.5 + 0.91 * above


BY_SEX: dict[str, Callable[[float, float, bool], float]] = {
    "LBMJANMA": _janmahasatian,
    "LBMJAMES128": _james,
    "IBW": _ideal,
}
