"""The factor from stored PET units to SUV, by the tags; or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.tagchecks import no_suv, positive
from medtrans.scans.pet.bodysize import normaliser
from medtrans.scans.pet.decay import decay_from_injection

# pet_unit -> what is divided by, as SUVType has it
NORMALISED_BY = {"suv": "BW", "suvlbm": "LBMJANMA", "suvbsa": "BSA"}
SERIES_TAGS = ("Units", "DecayCorrection", "DecayCorrected", "DecayCorrectionDateTime", "SUVType", "CorrectedImage",
               "Radiopharmaceutical", "PatientWeight", "PatientSize", "PatientSex")  # fmt: skip
ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"
SMALLEST_DOSE, MBQ_BELOW = 1e5, 1e4  # Bq given to a patient; numbers below the second are in MBq, if they may be


@dataclass(frozen=True)
class SUV:
    """SUV = value * ``factor``.

    Attributes:
        factor: g/ml (cm²/ml for body surface) per unit of the stored values.
        normalised_by: ``BW``, ``LBMJANMA`` or ``BSA``, see :func:`medtrans.scans.pet.bodysize.normaliser`.
        decay_seconds: from injection to the time the values are corrected to; None where decay plays no part.
        tags: DICOM keywords the factor comes from (their values are patient data and stay out).
        warnings: where tags contradict one another without ruling SUV out.
    """

    factor: float
    normalised_by: str
    decay_seconds: float | None
    tags: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def suv_factor(frames: Sequence[Frame], series: Sequence[Frame] = (), pet_unit: str = "suv") -> SUV:
    """SUV factor of a PET series.

    Units GML and CM2ML: SUV already, brought to the normalisation wanted. CNTS: Philips' private SUV factor, or its
    Bq/ml factor and then as BQML. BQML: weight in g (lean body mass, surface in cm²) over the dose left at the time
    the scanner corrected the decay to. DecayCorrection START: see
    :func:`~medtrans.scans.pet.decay.decay_from_injection`; ADMIN corrects to the injection; NONE cannot be used.

    Args:
        frames: the frames of the volume.
        series: all frames of its SeriesInstanceUID, where the volume is only a part of it.
        pet_unit: ``suv``, ``suvlbm`` or ``suvbsa``.

    Raises:
        InputError: a tag is missing, contradictory or implausible; the message names it.
    """
    tags, wanted = frames[0].tags, NORMALISED_BY[pet_unit]
    for name in SERIES_TAGS:
        if any(frame.tags.get(name) != tags.get(name) for frame in frames):
            raise no_suv(f"{name} differs between its images")
    units = tags.get("Units")
    if units in ("GML", "CM2ML"):
        return _renormalised(SUV(1.0, _stored_kind(tags), None, ("Units",)), wanted, tags)
    corrected = tags.get("CorrectedImage")
    if corrected is not None and not {"ATTN", "DECY"} <= set(corrected):
        raise no_suv(f"CorrectedImage is {'/'.join(map(str, corrected))}: attenuation or decay is missing")
    if tags.get("AttenuationCorrected", "YES") != "YES":
        raise no_suv("AttenuationCorrected is NO")
    if units == "CNTS":
        return _from_counts(frames, series or frames, wanted)
    if units != "BQML":
        raise no_suv(f"Units is {units or 'missing'}")
    return _from_becquerel(series or frames, wanted)


def _stored_kind(tags: dict[str, Any]) -> str:
    """What SUV values in the file are normalised by; LBM alone may be one of two formulas of James."""
    kind = str(tags.get("SUVType", "BW" if tags["Units"] == "GML" else "BSA"))
    if kind not in (("BSA",) if tags["Units"] == "CM2ML" else ("BW", "LBMJANMA", "LBMJAMES128", "IBW")):
        raise no_suv(f"its values are SUV normalised by {kind} (SUVType), in {tags['Units']}")
    return kind


def _renormalised(suv: SUV, wanted: str, tags: dict[str, Any]) -> SUV:
    """SUV by another measure of the body; as it is when it is by that one already."""
    if suv.normalised_by == wanted:
        return suv
    (has, known), (needs, more) = normaliser(suv.normalised_by, tags), normaliser(wanted, tags)
    used = tuple(dict.fromkeys((*suv.tags, "SUVType", *known, *more)))
    return replace(suv, factor=suv.factor * needs / has, normalised_by=wanted, tags=used)


def bqml_factor(frames: Sequence[Frame]) -> float | None:
    """Philips' private factor from counts to Bq/ml, None where there is none or not the same in all images."""
    return _one(frames, "PhilipsBqmlFactor")


def _one(frames: Sequence[Frame], keyword: str) -> float | None:
    values = {frame.tags.get(keyword) for frame in frames}
    return (values.pop() or None) if len(values) == 1 else None


def _from_counts(frames: Sequence[Frame], series: Sequence[Frame], wanted: str) -> SUV:
    factor, to_bqml = _one(frames, "PhilipsSUVFactor"), bqml_factor(frames)
    if factor is not None and factor > 0:
        by_weight = SUV(float(factor), "BW", None, ("Units", "(7053,1000)"))
        return _renormalised(by_weight, wanted, frames[0].tags)
    if to_bqml is not None and to_bqml > 0:
        further = _from_becquerel(series, wanted)
        return replace(further, factor=to_bqml * further.factor, tags=("(7053,1009)", *further.tags))
    raise no_suv("Units is CNTS without Philips' private factors (7053,1000) and (7053,1009)")


def _from_becquerel(frames: Sequence[Frame], wanted: str) -> SUV:
    tags = frames[0].tags
    size, measures = normaliser(wanted, tags)
    drug = _radiopharmaceutical(tags)
    dose = _dose(drug, str(tags.get("SOPClassUID", "")))
    state, name = tags.get("DecayCorrection"), "DecayCorrection"
    if state is None and "DecayCorrected" in tags:  # enhanced PET says it in other words
        state, name = {"YES": "START"}.get(tags["DecayCorrected"], tags["DecayCorrected"]), "DecayCorrected"
        if state == "START" and "DecayCorrectionDateTime" not in tags:
            raise no_suv("DecayCorrectionDateTime is missing")
    used = ("Units", name, *measures, "RadionuclideTotalDose")
    if state == "ADMIN":
        return SUV(size / dose, wanted, 0.0, used)
    if state != "START":
        raise no_suv(f"{name} is {state or 'missing'}")
    half_life = positive(drug, "RadionuclideHalfLife")
    decay = decay_from_injection(frames, drug, half_life)
    left = dose * 2 ** (-decay.seconds / half_life)
    return SUV(size / left, wanted, decay.seconds, (*used, "RadionuclideHalfLife", *decay.tags), decay.warnings)


def stated_dose(dose: float, sop_class: str) -> float:
    """RadionuclideTotalDose in Bq: enhanced PET has it in MBq (PS3.3 C.8.22.4), though some write Bq there too."""
    return 1e6 * dose if sop_class == ENHANCED_PET and dose < MBQ_BELOW else dose


def _dose(drug: dict[str, Any], sop_class: str) -> float:
    """Bq; a classic image with fewer than a patient is ever given may mean MBq or mCi: refused."""
    dose = stated_dose(positive(drug, "RadionuclideTotalDose"), sop_class)
    if dose < SMALLEST_DOSE:
        raise no_suv(f"RadionuclideTotalDose of {dose:g} Bq is implausible (given in MBq or mCi?)")
    return dose


def _radiopharmaceutical(tags: dict[str, Any]) -> dict[str, Any]:
    drugs: tuple[dict[str, Any], ...] = tags.get("Radiopharmaceutical", ())
    if len(drugs) != 1:
        raise no_suv(f"RadiopharmaceuticalInformationSequence has {len(drugs)} items")
    return drugs[0]
