"""What a CT, an MR and a PET image must say of itself, by PS3.3 C.8.2.1, C.8.3.1, C.8.9.1 and C.8.9.4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from medtrans.errors import InputError
from medtrans.scans.derived.provenance import coded
from medtrans.scans.derived.sources import SourceSeries
from medtrans.scans.derived.storing import Stored, stored_ct, stored_mr, stored_pet
from medtrans.scans.export.frames import Frame
from medtrans.scans.intensity.values import AIR_HU
from medtrans.scans.pet.moments import acquired
from medtrans.scans.pet.suv import ENHANCED_PET, stated_dose, suv_factor
from medtrans.scans.space.distances import is_even

# unit of the values -> Units and SUVType of a PET image
PET_UNITS = {"Bq/ml": ("BQML", ""), "SUV": ("GML", "BW"), "SUVlbm": ("GML", "LBMJANMA"), "SUVbsa": ("CM2ML", "BSA")}
# PET Series, Isotope and Orientation modules: how the counts became values, and the dose
PET_SERIES = (
    "SeriesDate", "SeriesTime", "CountsSource", "SeriesType", "ReprojectionMethod", "CollimatorType", "CorrectedImage",
    "DecayCorrection", "RandomsCorrectionMethod", "AttenuationCorrectionMethod", "ScatterCorrectionMethod",
    "ReconstructionMethod", "ReconstructionDiameter", "ConvolutionKernel", "RadiopharmaceuticalInformationSequence",
    "InterventionDrugInformationSequence", "PatientOrientationCodeSequence",
    "PatientGantryRelationshipCodeSequence",
)  # fmt: skip
ENDS = {"HF": codes.SCT.Headfirst, "FF": codes.SCT.FeetFirst}
SIDES = {"S": codes.SCT.Supine, "P": codes.SCT.Prone, "DR": codes.SCT.RightLateralDecubitus,
         "DL": codes.SCT.LeftLateralDecubitus}  # fmt: skip
PET_FRAME = ("AcquisitionDate", "AcquisitionTime", "FrameReferenceTime", "ActualFrameDuration", "DecayFactor")


@dataclass(frozen=True)
class Kind:
    """How images of one modality are written.

    Attributes:
        modality: as DICOM names it.
        name: as people do.
        sop_class: UID.
        image_type: PET images are PRIMARY even where they are derived (C.8.9.4.1.1).
        background: value where nothing is.
        store: (planes, rows, columns) in the unit to what is stored.
    """

    modality: str
    name: str
    sop_class: str
    image_type: tuple[str, ...]
    background: float
    store: Callable[[np.ndarray], list[Stored]]


KINDS = {
    "CT": Kind("CT", "CT", CTImageStorage, ("DERIVED", "SECONDARY", "AXIAL"), AIR_HU, stored_ct),
    "MR": Kind("MR", "MR", MRImageStorage, ("DERIVED", "SECONDARY", "OTHER"), 0.0, stored_mr),
    "PT": Kind("PT", "PET", PositronEmissionTomographyImageStorage, ("DERIVED", "PRIMARY"), 0.0, stored_pet),
}


def of_series(kind: Kind, unit: str, source: SourceSeries, header: Dataset) -> Dataset:
    """What all images of the series say, besides what every image says.

    Args:
        kind: of the series.
        unit: of the values.
        source: the series it is laid over.
        header: of the source's first image.
    """
    return {"CT": _ct, "MR": _mr, "PT": _pet}[kind.modality](unit, source, header)


def _ct(unit: str, source: SourceSeries, header: Dataset) -> Dataset:
    dataset = Dataset()
    dataset.RescaleType, dataset.KVP = "HU", None
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    if source.first.tags.get("Modality") == "CT" and header.get("KVP"):
        dataset.KVP = header.KVP
    dataset.setdefault("AcquisitionNumber", header.get("AcquisitionNumber"))
    return dataset


def _mr(unit: str, source: SourceSeries, header: Dataset) -> Dataset:
    """No sequence made these values: research mode, and no timing."""
    dataset = Dataset()
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
    dataset.MRAcquisitionType = ""
    dataset.EchoTime = dataset.RepetitionTime = dataset.EchoTrainLength = None
    if len(source.frames) > 1 and is_even(source.planes.places):
        dataset.SpacingBetweenSlices = f"{source.planes.spacing:.10g}"
    return dataset


def _pet(unit: str, source: SourceSeries, header: Dataset) -> Dataset:
    dataset = Dataset()
    dataset.Units, kind = PET_UNITS[unit]
    if kind:
        dataset.SUVType = kind
    dataset.NumberOfSlices = len(source.frames)
    dataset.CountsSource, dataset.SeriesType, dataset.CollimatorType = "EMISSION", ["STATIC", "IMAGE"], ""
    dataset.CorrectedImage, dataset.DecayCorrection = [], "NONE"
    dataset.RadiopharmaceuticalInformationSequence = []
    dataset.PatientOrientationCodeSequence, dataset.PatientGantryRelationshipCodeSequence = lying(
        str(source.first.tags.get("PatientPosition", ""))
    )
    if source.first.tags.get("Modality") == "PT":
        for keyword in PET_SERIES:
            if keyword in header:
                dataset[keyword] = header[keyword]
        _in_classic_terms(dataset, source)
    for drug in dataset.RadiopharmaceuticalInformationSequence:
        drug.setdefault("RadionuclideCodeSequence", [])
    return dataset


def lying(position: str) -> tuple[list[Dataset], list[Dataset]]:
    """PatientPosition, such as HFS, in the codes that PET has for it; empty where it is none of the eight."""
    if position not in {f"{end}{side}" for end in ENDS for side in SIDES}:
        return [], []
    patient = coded(codes.SCT.Recumbent)
    patient.PatientOrientationModifierCodeSequence = [coded(SIDES[position[2:]])]
    return [patient], [coded(ENDS[position[:2]])]


def _in_classic_terms(dataset: Dataset, source: SourceSeries) -> None:
    """What enhanced PET says in other words, and the one moment that decay is counted to, as time of the series."""
    tags = source.first.tags
    if "DecayCorrection" in tags:
        dataset.DecayCorrection = tags["DecayCorrection"]
    elif "DecayCorrected" in tags:
        dataset.DecayCorrection = "START" if tags["DecayCorrected"] == "YES" else "NONE"
        done = {"DECY": tags["DecayCorrected"], "ATTN": tags.get("AttenuationCorrected", "NO")}
        dataset.CorrectedImage = [word for word, said in done.items() if said == "YES"]
    if tags.get("SOPClassUID") == ENHANCED_PET:
        for drug in dataset.RadiopharmaceuticalInformationSequence:
            if drug.get("RadionuclideTotalDose"):
                drug.RadionuclideTotalDose = f"{stated_dose(float(drug.RadionuclideTotalDose), ENHANCED_PET):.10g}"
    if source.decay is not None:
        moment = source.decay[0]
        fraction = f"{moment:.%f}" if moment.microsecond else ""
        dataset.SeriesDate, dataset.SeriesTime = f"{moment:%Y%m%d}", f"{moment:%H%M%S}{fraction}"


def of_frame(kind: Kind, frame: Frame, place: int, source: SourceSeries) -> Dataset:
    """What one image says beyond its series; ``place`` counts from 1 in the order of the series."""
    dataset = Dataset()
    if kind.modality != "PT":
        return dataset
    dataset.ImageIndex, dataset.FrameReferenceTime, dataset.ActualFrameDuration = place, "0", None
    dataset.AcquisitionDate = dataset.AcquisitionTime = ""
    from_pet = frame.tags.get("Modality") == "PT"
    for keyword in PET_FRAME if from_pet else PET_FRAME[:2]:
        value = frame.tags.get(keyword)
        if value is not None:
            setattr(dataset, keyword, f"{value:.10g}" if isinstance(value, float) else value)
    if from_pet and "DecayFactor" not in dataset and source.decay is not None:
        began = acquired(frame.tags)
        if began is not None:
            moment, half_life = source.decay
            dataset.DecayFactor = f"{2 ** ((began - moment).total_seconds() / half_life):.10g}"
    return dataset


def in_unit(values: np.ndarray, unit: str, wanted: str, source: SourceSeries, subject: str) -> np.ndarray:
    """PET values brought from one unit to another by the dose tags of the source.

    Args:
        values: any shape.
        unit: theirs, one of PET_UNITS.
        wanted: likewise.
        source: the series.
        subject: what the volume is called in messages.

    Raises:
        InputError: the source is no PET in Bq/ml with its dose.
    """
    if unit == wanted:
        return values
    if source.first.tags.get("Units") != "BQML":
        problem = f"is in {unit}, and its source is no PET in Bq/ml whose dose could lead to {wanted}"
        raise InputError(subject, problem, f"Write it in {unit}")
    for name, divide in ((unit, True), (wanted, False)):
        if name != "Bq/ml":
            factor = suv_factor(source.frames, source.series_frames, name.lower()).factor
            values = values / np.float32(factor) if divide else values * np.float32(factor)
    return values


def window_of(stored: Sequence[Stored]) -> tuple[float, float]:
    """Centre and width that show values from the 1st to the 99th percentile."""
    few = [one.pixels[::4, ::4].ravel() * (one.slope or 1.0) + (one.intercept or 0.0) for one in stored]
    seen = np.concatenate(few)
    low, high = np.percentile(seen, [1, 99])
    return float((low + high) / 2), float(max(high - low, 1e-6))
