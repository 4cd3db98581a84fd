"""The unit of a volume's values, and what brings PET to the unit asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medtrans.errors import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.pet.suv import bqml_factor, suv_factor

SUV_NAMES = {"suv": "SUV", "suvlbm": "SUVlbm", "suvbsa": "SUVbsa"}
MEASURES = {"BW": "body weight", "LBMJANMA": "lean body mass (Janmahasatian 2005)",
            "BSA": "body surface area (Du Bois 1916), cm2/ml"}  # fmt: skip


@dataclass
class Unit:
    """The unit of values once they are multiplied by ``factor``.

    Attributes:
        name: ``HU``, ``Bq/ml``, ``SUV``, ``SUVlbm``, ``SUVbsa``, another one, or empty when the header says none.
        factor: from the values as the header scales them.
        sidecar: what is recorded about it.
        warnings: what the user should know.
    """

    name: str
    factor: float = 1.0
    sidecar: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def unit_of(frames: Sequence[Frame], series: Sequence[Frame], pet_unit: str) -> Unit:
    """The unit of a volume; PET in ``pet_unit`` where its tags allow it, else as near as they allow, with the reason.

    Args:
        frames: all frames of the volume.
        series: all frames of its SeriesInstanceUID.
        pet_unit: as :class:`medtrans.scans.Conversion` has it.

    Raises:
        InputError: some images are scaled and some are not: their values cannot be of one unit.
    """
    for name in ("RescaleSlope", "RescaleIntercept"):
        without = sum(name not in frame.tags for frame in frames)
        if 0 < without < len(frames):
            problem = f"{without} of its {len(frames)} images have no {name}, the others have one"
            raise InputError("series", problem, "Export the series again")
    tags = frames[0].tags
    modality = tags.get("Modality")
    if modality == "CT":
        specified = (frame.tags for frame in frames if frame.tags.get("RescaleType", "US") != "US")
        return _ct_unit(next(specified, tags))
    if modality == "PT":
        return _pet_unit(frames, series, pet_unit)
    return Unit(str(tags.get("RealWorldUnit", "")))


def _ct_unit(tags: dict[str, Any]) -> Unit:
    if "RescaleIntercept" not in tags:
        return Unit("", warnings=["CT without RescaleIntercept: stored values, maybe not HU"])
    kind = str(tags.get("RealWorldUnit") or tags.get("RescaleType") or "HU")
    return Unit("HU" if kind.upper().startswith(("HU", "[HNSF'U]")) else kind)  # the second is UCUM's


def _pet_unit(frames: Sequence[Frame], series: Sequence[Frame], pet_unit: str) -> Unit:
    units, kind = str(frames[0].tags.get("Units", "")), str(frames[0].tags.get("SUVType", "BW"))
    unit = Unit({"BQML": "Bq/ml", "GML": "SUV" if kind == "BW" else f"SUV by {kind}"}.get(units, units))
    if pet_unit != "bqml":
        try:
            return _in_suv(unit, frames, series, pet_unit)
        except InputError as error:
            refusal = error.problem
    else:
        refusal = ""
    factor = bqml_factor(frames) if units == "CNTS" else None
    if factor is not None:
        unit = Unit("Bq/ml", factor, {"activity": {"factor": factor, "from_unit": units, "tags": ["(7053,1009)"]}})
    if refusal:
        unit.warnings.append(f"{refusal}; values stay in {unit.name or 'an unknown unit'}")
    elif unit.name != "Bq/ml":
        unit.warnings.append(f"values are in {units or 'an unknown unit'}, Bq/ml was asked for")
    return unit


def _in_suv(unit: Unit, frames: Sequence[Frame], series: Sequence[Frame], pet_unit: str) -> Unit:
    suv = suv_factor(frames, series, pet_unit)
    recorded = {
        "factor": suv.factor,
        "from_unit": unit.name,
        "normalised_by": MEASURES[suv.normalised_by],
        "decay_seconds": suv.decay_seconds,
        "tags": list(suv.tags),
    }
    return Unit(SUV_NAMES[pet_unit], suv.factor, {"suv": recorded}, list(suv.warnings))
