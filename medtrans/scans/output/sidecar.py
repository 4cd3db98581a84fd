"""What the JSON beside a volume says: scanner and acquisition under BIDS names, medtrans' own keys in snake_case.

BIDS names its fields in CamelCase; what it has no name for keeps its DICOM keyword. Left out are names, IDs, UIDs,
dates, times of day, and doses, unless identifiers are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from medtrans.scans.pet.suv import stated_dose

if TYPE_CHECKING:
    from medtrans.scans.export.frames import Frame

# DICOM keyword -> field; these are plain copies.
TEXTS = {
    "Modality": "Modality", "Manufacturer": "Manufacturer", "ManufacturerModelName": "ManufacturersModelName",
    "SoftwareVersions": "SoftwareVersions", "BodyPartExamined": "BodyPart", "PatientPosition": "PatientPosition",
    "SeriesNumber": "SeriesNumber", "SeriesDescription": "SeriesDescription", "ProtocolName": "ProtocolName",
    "ImageType": "ImageType",
}  # fmt: skip
MR = {
    "MagneticFieldStrength": "MagneticFieldStrength", "ScanningSequence": "ScanningSequence",
    "SequenceVariant": "SequenceVariant", "ScanOptions": "ScanOptions", "SequenceName": "SequenceName",
    "PulseSequenceName": "SequenceName", "MRAcquisitionType": "MRAcquisitionType", "ReceiveCoilName": "ReceiveCoilName",
    "FlipAngle": "FlipAngle", "EchoTrainLength": "EchoTrainLength", "NumberOfAverages": "NumberOfAverages",
    "PixelBandwidth": "PixelBandwidth", "ImagingFrequency": "ImagingFrequency",
    "SpacingBetweenSlices": "SpacingBetweenSlices",
}  # fmt: skip
CT = {
    "KVP": "KVP", "XRayTubeCurrent": "XRayTubeCurrent", "ExposureTime": "ExposureTime", "Exposure": "Exposure",
    "ConvolutionKernel": "ConvolutionKernel", "ReconstructionDiameter": "ReconstructionDiameter",
}  # fmt: skip
PET = {
    "ReconstructionMethod": "ReconMethodName", "ConvolutionKernel": "ReconFilterType",
    "AttenuationCorrectionMethod": "AttenuationCorrection", "ScatterCorrectionMethod": "ScatterCorrectionMethod",
    "RandomsCorrectionMethod": "RandomsCorrectionMethod",
}  # fmt: skip
OF_MODALITY = {"MR": MR, "CT": CT, "PT": PET}
LISTS = {"ImageType", "ScanningSequence", "SequenceVariant", "ScanOptions"}
SECONDS = {"EchoTime": "EchoTime", "RepetitionTime": "RepetitionTime", "InversionTime": "InversionTime"}  # DICOM: ms
PER_TIME = {"DecayFactor": "DecayCorrectionFactor", "ScatterFractionFactor": "ScatterFraction"}
IDENTIFIERS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "StudyDate",
               "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")  # fmt: skip
SIDECAR_TAGS = tuple(sorted({*TEXTS, *MR, *CT, *PET, *SECONDS, *PER_TIME, "SliceThickness", "ActualFrameDuration"}))
NUCLIDE = re.compile(r"\^?(?P<mass>\d{1,3})m?\^?\s*-?(?P<element>[A-Za-z]+)|(?P<symbol>[A-Z][a-z]?)-?(?P<number>\d+)")
ELEMENTS = {"fluorine": "F", "carbon": "C", "nitrogen": "N", "oxygen": "O", "gallium": "Ga", "copper": "Cu",
            "zirconium": "Zr", "rubidium": "Rb", "iodine": "I", "germanium": "Ge", "sodium": "Na"}  # fmt: skip


def described(times: Sequence[Sequence[Frame]], label: str = "") -> dict[str, Any]:
    """The fields of a volume by its headers; a value that is not the same in all images is left out.

    Args:
        times: time points of planes, as in :class:`~medtrans.scans.series.stacks.Stack`.
        label: what tells the volume from the others of its series.
    """
    frames = [frame for time in times for frame in time]
    modality = frames[0].tags.get("Modality", "")
    fields: dict[str, Any] = {}
    for keyword, name in (TEXTS | OF_MODALITY.get(modality, {})).items():
        value = _common(frames, keyword)
        if value not in (None, "", ()):
            fields[name] = _plain(name, value)
    fields["ImageType"] = list(frames[0].tags.get("ImageType", ()))
    for keyword, name in SECONDS.items():
        value = _common(frames, keyword)
        if modality == "MR" and isinstance(value, (int, float)) and value > 0:
            fields[name] = round(value / 1000, 9)
    thickness = _common(frames, "SliceThickness")
    if isinstance(thickness, (int, float)) and thickness > 0:
        fields["SliceThickness"] = thickness
    if modality == "PT":
        fields |= _of_pet(times)
    return fields | ({"part": label} if label else {})


def _plain(name: str, value: Any) -> Any:
    """A list where BIDS allows one, else text with spaces between."""
    if not isinstance(value, tuple):
        return value
    return list(value) if name in LISTS else " ".join(map(str, value))


def _common(frames: Sequence[Frame], keyword: str) -> Any:
    """The value all frames share, None when they do not."""
    value = frames[0].tags.get(keyword)
    return value if all(frame.tags.get(keyword) == value for frame in frames) else None


def _of_pet(times: Sequence[Sequence[Frame]]) -> dict[str, Any]:
    tags = times[0][0].tags
    fields: dict[str, Any] = {}
    drugs = tags.get("Radiopharmaceutical", ())
    if len(drugs) == 1:
        name, nuclide = drugs[0].get("Radiopharmaceutical"), radionuclide(drugs[0].get("Radionuclide"))
        fields |= {"TracerName": name} if name else {}
        fields |= {"TracerRadionuclide": nuclide} if nuclide else {}
    if tags.get("DecayCorrection"):
        fields["ImageDecayCorrected"] = tags["DecayCorrection"] != "NONE"
    durations = [_common(time, "ActualFrameDuration") for time in times]
    if all(isinstance(value, (int, float)) and value > 0 for value in durations):
        fields["FrameDuration"] = [round(value / 1000, 6) for value in durations]  # DICOM: ms
    for keyword, name in PER_TIME.items():
        values = [_common(time, keyword) for time in times]
        if all(isinstance(value, (int, float)) for value in values):
            fields[name] = values
    return fields


def radionuclide(meaning: str | None) -> str:
    """``F18`` for the code meanings ``^18^Fluorine``, ``18F``, ``F-18``; empty for anything else."""
    match = NUCLIDE.fullmatch(str(meaning or "").strip())
    if match is None:
        return ""
    if match["symbol"]:
        return f"{match['symbol']}{match['number']}"
    element = match["element"]
    symbol = ELEMENTS.get(element.lower(), element if len(element) < 3 else "")
    return f"{symbol}{match['mass']}" if symbol else ""


def identifiers(frame: Frame) -> dict[str, Any]:
    """Who and when, by the headers: only for those who ask for it."""
    fields = {name: frame.tags[name] for name in IDENTIFIERS if name in frame.tags}
    drugs = frame.tags.get("Radiopharmaceutical", ())
    dose = drugs[0].get("RadionuclideTotalDose") if len(drugs) == 1 else None
    if isinstance(dose, float) and dose > 0:
        becquerel = stated_dose(dose, str(frame.tags.get("SOPClassUID", "")))
        fields |= {"InjectedRadioactivity": becquerel / 1e6, "InjectedRadioactivityUnits": "MBq"}
    return fields


def sidecar(metadata: dict[str, Any]) -> dict[str, Any]:
    """``metadata`` of a volume as it is written: BIDS fields and DICOM keywords first, then medtrans' own keys."""
    from medtrans import __version__

    fields = dict(metadata)
    modality = fields.pop("modality", "")
    description = fields.pop("description", "")
    if modality == "PT" and fields.get("unit"):
        fields["Units"] = _pet_units(fields["unit"])
    fields = {"Modality": modality, "SeriesDescription": description} | fields
    fields |= {"ConversionSoftware": "medtrans", "ConversionSoftwareVersion": __version__}
    return dict(sorted(fields.items(), key=lambda item: not item[0][0].isupper()))


def _pet_units(unit: str) -> str:
    """As BIDS writes it; SUV by its dimension."""
    if unit.lower().startswith("suv"):
        return "cm2/mL" if "bsa" in unit.lower() else "g/mL"
    return "Bq/mL" if unit == "Bq/ml" else unit


def full_description(fields: dict[str, Any]) -> str:
    """SeriesDescription and what tells this volume from the others of its series."""
    description, part = fields.get("SeriesDescription", ""), fields.get("part", "")
    return f"{description} [{part}]".strip() if part else str(description)
