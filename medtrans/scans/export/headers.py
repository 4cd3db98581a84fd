"""What one DICOM file says about its image planes, read without pixel data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from medtrans.scans.export.diffusion import DIFFUSION, public_diffusion
from medtrans.scans.export.enhanced import FUNCTIONAL_GROUPS, enhanced_frames
from medtrans.scans.export.frames import Frame
from medtrans.scans.export.known_values import remembered
from medtrans.scans.export.mosaic import is_mosaic, mosaic_frames
from medtrans.scans.intensity.native import place_of_pixels
from medtrans.scans.intensity.realworld import real_world_values
from medtrans.scans.output.sidecar import SIDECAR_TAGS

TAGS = (
    *SIDECAR_TAGS,
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "Manufacturer",
    "ManufacturerModelName", "SeriesDescription", "ProtocolName", "TimezoneOffsetFromUTC",
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
    "SeriesTime", "AcquisitionTime", "ContentTime", "AcquisitionDateTime",
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientWeight",
    "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "AcquisitionNumber",
    "FrameOfReferenceUID", "TemporalPositionIdentifier", "TriggerTime", "FrameReferenceTime", "ActualFrameDuration",
    "ImageIndex", "NumberOfSlices",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "GantryDetectorTilt", "PatientPosition",
    "EchoTime", "EchoNumbers", "RepetitionTime", "InversionTime", "FlipAngle", "MagneticFieldStrength",
    "ComplexImageComponent", "DiffusionBValue", "DiffusionGradientOrientation", "ConvolutionKernel", "FilterType",
    "KVP", "MonoenergeticEnergyEquivalent", "ContrastBolusAgent",
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit", "DoubleFloatPixelPaddingValue",
    "DoubleFloatPixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "RescaleType",
    "LossyImageCompression", "Units", "SUVType", "DecayCorrection", "CorrectedImage", "DecayFactor",
    "PatientSize", "PatientSex", "DecayCorrected", "DecayCorrectionDateTime", "AttenuationCorrected",
    "BurnedInAnnotation", "ConversionType", "BodyPartExamined", "PatientIdentityRemoved",
)  # fmt: skip
RADIOPHARMACEUTICAL = (
    "Radiopharmaceutical",
    "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime", "RadionuclideTotalDose", "RadionuclideHalfLife",
)  # fmt: skip
LISTS = {
    "ImageType",
    "FrameType",
    "CorrectedImage",
    "ScanningSequence",
    "SequenceVariant",
}  # always tuples, also with one entry
# (group, element within the creator's block) -> private creator, VR, the name the rest of the room knows it by
PRIVATE: dict[tuple[int, int], tuple[str, str, str]] = {
    (0x0043, 0x2F): ("GEMS_PARM_01", "SS", "GEComponent"),  # 0 magnitude, 1 phase, 2 real, 3 imaginary
    (0x0009, 0x0D): ("GEMS_PETD_01", "DT", "GEScanDateTime"),
    (0x0071, 0x22): ("SIEMENS MED PT", "DT", "SiemensDecayDateTime"),
    (0x7053, 0x00): ("Philips PET Private Group", "DS", "PhilipsSUVFactor"),
    (0x7053, 0x09): ("Philips PET Private Group", "DS", "PhilipsBqmlFactor"),
    (0x2005, 0x0E): ("Philips MR Imaging DD 001", "FL", "PhilipsScaleSlope"),
    **DIFFUSION,
}
BLOCKS = range(0x10, 0x18)  # where private creators are looked for; scanners use the very first
PRIVATE_TAGS = tuple(
    group << 16 | element for group, offset in PRIVATE for block in BLOCKS for element in (block, block << 8 | offset)
)
OVERLAY_BIT = 0x60000102  # above 0: an overlay lies in high bits of the pixels
GROUPED = ("RadiopharmaceuticalInformationSequence", "ModalityLUTSequence", "RealWorldValueMappingSequence",
           *FUNCTIONAL_GROUPS)  # fmt: skip
WANTED: list[Any] = [*map(Tag, TAGS), *map(Tag, PRIVATE_TAGS), Tag(OVERLAY_BIT), *map(Tag, GROUPED)]

NUMBERS = {"DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"}
# Guessing these would give wrong voxels: a file in which one is damaged is refused.
DECISIVE = {
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation", "RescaleSlope",
    "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit", "BitsStored", "HighBit",
}  # fmt: skip

# Whose image it is, for the row of a damaged one.
WHOSE = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientIdentityRemoved",
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality", "SeriesNumber", "InstanceNumber",
    "SeriesDescription",
)  # fmt: skip

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
DIRECTORY = "DICOM directory"
SECONDARY_CAPTURE = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.7(\.\d+)?$")
OTHER_OBJECTS = {"RTDOSE": "radiotherapy dose grid", "SEG": "segmentation object", "RTSEGANN": "segmentation object"}
SPECTRA = {"1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.4.2.1"}
SCREEN = re.compile(r"SCREEN ?(SAVE|SHOT|CAPTURE)|(DOSE|CSA|PATIENT)?[ _]?(REPORT|PROTOCOL|INFO)", re.IGNORECASE)
VOLUME_MODALITIES = {"CT", "MR", "PT"}


@dataclass(slots=True)
class ScanFile:
    """One file of an export.

    Attributes:
        path: where it lies.
        format: ``dicom``, ``nifti``, ``itk`` (MetaImage, NRRD), ``archive`` or empty when it is no scan.
        tags: DICOM keyword -> plain Python value, for the tags present.
        frames: its image planes; empty when it has none.
        problem: why it has none, empty otherwise.
        failed: whether ``problem`` is a fault of something that should have been readable.
        tiles: tiles across a Siemens mosaic, 1 otherwise.
        doubt: what the user should know about volumes from it, empty otherwise.
        place: where the user sees it, relative to the export, inside an archive behind the archive's own place.
        pixels: where uncompressed pixel data begin and how many bytes they are, None for all others.
    """

    path: Path
    format: str = ""
    tags: dict[str, Any] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    problem: str = ""
    failed: bool = False
    tiles: int = 1
    place: str = ""
    doubt: str = ""
    pixels: tuple[int, int] | None = None


def plain(value: Any) -> Any:
    """A pydicom value as str, float, int or tuple of these; None where it is empty or not to be understood."""
    if value is None or value == "":
        return None
    if isinstance(value, (str, pydicom.valuerep.PersonName)):
        return str(value).strip() or None
    if isinstance(value, (bytes, Dataset)):
        return None
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float) or hasattr(value, "as_integer_ratio"):
        return float(value)
    try:
        return tuple(plain(item) for item in value)
    except TypeError:
        return None


class DamagedValueError(ValueError):
    """A value that decides over pixels or their place and cannot be understood."""


_DAMAGED = object()


@cache
def _numbers_of(keyword: str) -> bool | None:
    """Whether a tag holds several numbers (True), a single one (False), or no numbers (None)."""
    if not set(dictionary_VR(keyword).split(" or ")) <= NUMBERS:
        return None
    return dictionary_VM(keyword) != "1"


@cache
def _tags_of(keywords: tuple[str, ...]) -> tuple[tuple[str, BaseTag], ...]:
    """Every keyword with its tag; pydicom looks it up again each time."""
    return tuple((keyword, Tag(keyword)) for keyword in keywords)


def tag_values(dataset: Dataset, keywords: tuple[str, ...]) -> dict[str, Any]:
    """The tags present, as plain values; a number that is none counts as absent.

    Raises:
        DamagedValueError: it is one of those that must not be guessed (:data:`DECISIVE`).
    """
    values: dict[str, Any] = {}
    present = dataset.keys()
    for keyword, tag in _tags_of(keywords):
        if tag not in present:
            continue
        value = remembered(dataset, tag, keyword, partial(_understood, dataset, keyword, tag))
        if value is _DAMAGED and keyword in DECISIVE:
            raise DamagedValueError(keyword)
        if value is not None and value is not _DAMAGED:
            values[keyword] = value
    return values


def _understood(dataset: Dataset, keyword: str, tag: BaseTag) -> Any:
    """A value as plain Python; a mark where it is not what the standard says."""
    try:
        value = plain(dataset[tag].value)
    except (ValueError, TypeError, OverflowError):
        return _DAMAGED
    if value is None:
        return None
    if not _as_defined(keyword, value):
        return _DAMAGED
    return (value,) if keyword in LISTS and not isinstance(value, tuple) else value


def _as_defined(keyword: str, value: Any) -> bool:
    """Whether a number is where one must be, and one only where there must be one."""
    several = _numbers_of(keyword)
    if several is None:
        return True
    numbers = value if isinstance(value, tuple) else (value,)
    return (several or len(numbers) == 1) and all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers)


def radiopharmaceutical(dataset: Dataset) -> dict[str, Any]:
    """The doses given, one a dictionary; empty when the header does not speak of any."""
    drugs = dataset.get("RadiopharmaceuticalInformationSequence") or ()
    return (
        {"Radiopharmaceutical": tuple(tag_values(drug, RADIOPHARMACEUTICAL) | nuclide(drug) for drug in drugs)}
        if drugs
        else {}
    )


def private_values(dataset: Dataset) -> dict[str, Any]:
    """The vendors' private tags of PRIVATE, in whichever block their creator has: numbers, and DT as text.

    Diffusion weightings take the names of the standard's tags.
    """
    values: dict[str, Any] = {}
    for tag in [tag for tag in dataset.keys() if tag >> 16 & 1 and tag & 0xFFFF > 0xFF]:  # noqa: SIM118
        group, block, offset = tag >> 16, tag >> 8 & 0xFF, tag & 0xFF
        creator, kind, keyword = PRIVATE.get((group, offset), ("", "", ""))
        owner = BaseTag(group << 16 | block)
        if creator and owner in dataset and remembered(dataset, owner, "", partial(_text, dataset, owner)) == creator:
            value = remembered(dataset, tag, keyword, partial(_private_value, dataset, tag, kind))
            if value is not None:
                values[keyword] = value
    return public_diffusion(values)


def _text(dataset: Dataset, tag: BaseTag) -> str:
    return str(dataset[tag].value).strip()


def _private_value(dataset: Dataset, tag: BaseTag, kind: str) -> float | str | tuple[float, ...] | None:
    return _private(dataset[tag].value, kind)


def _private(value: Any, kind: str) -> float | str | tuple[float, ...] | None:
    """A private value of VR ``kind``; implicit VR leaves those that pydicom does not know as bytes."""
    if isinstance(value, (MultiValue, list)):
        try:
            return tuple(map(float, value))
        except (TypeError, ValueError):
            return None
    if isinstance(value, bytes):
        number = {"SS": "<i2", "FL": "<f4"}.get(kind)
        if number is not None and len(value) == np.dtype(number).itemsize:
            return float(np.frombuffer(value, number)[0])
        value = value.decode("ascii", "replace").strip("\0 ")
    if kind == "DT":
        return str(value or "").strip() or None
    try:
        return float(plain(value))
    except (TypeError, ValueError):
        return None


def nuclide(drug: Dataset) -> dict[str, Any]:
    """What the code of a radiopharmaceutical's nuclide means, under ``Radionuclide``."""
    codes = drug.get("RadionuclideCodeSequence")
    meaning = tag_values(codes[0], ("CodeMeaning",)).get("CodeMeaning") if codes else None
    return {"Radionuclide": meaning} if meaning else {}


def why_no_image(tags: dict[str, Any], sop_class: str) -> str:
    """Why a readable DICOM file holds no image to convert, empty when it does."""
    modality = tags.get("Modality", "")
    if sop_class == MEDIA_DIRECTORY:
        return DIRECTORY
    if not tags.get("Rows") or not tags.get("Columns"):
        if not sop_class:
            return "DICOM file without a data set"
        return f"{UID(sop_class).name if UID(sop_class).is_private is False else 'private object'}: no pixel data"
    if modality in OTHER_OBJECTS:
        return f"{OTHER_OBJECTS[modality]}: not an image of the scanner"
    if SECONDARY_CAPTURE.match(sop_class):
        return "secondary capture (screenshot or report)"
    if sop_class in SPECTRA:
        return "spectroscopy: holds spectra, not an image"
    photometric = tags.get("PhotometricInterpretation", "MONOCHROME2")
    if tags.get("SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"colour picture ({photometric}): holds no physical values"
    return ""


def read_dicom(path: Path) -> ScanFile:
    """Read the header of a DICOM file, with or without preamble; never raises for a bad file."""
    file = ScanFile(path, "dicom")
    try:
        with path.open("rb") as stream:
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=WANTED)
            file.pixels = place_of_pixels(stream, dataset)
        file.tags = private_values(dataset) | tag_values(dataset, TAGS)
        if dataset.get("ModalityLUTSequence"):
            lut = tag_values(dataset.ModalityLUTSequence[0], ("ModalityLUTType",))
            file.tags |= {"ModalityLUTType": "US", "RescaleSlope": 1.0, "RescaleIntercept": 0.0} | lut
            file.tags["RescaleType"] = file.tags["ModalityLUTType"]
        elif "RealWorldValueMappingSequence" in dataset and "Units" not in file.tags:  # classic PET has Units and slope
            file.tags |= real_world_values(dataset, file.tags.get("Modality", ""), "RescaleSlope" in file.tags)
        if OVERLAY_BIT in dataset:
            file.tags["OverlayBitPosition"] = plain(dataset[OVERLAY_BIT].value) or 0
        file.tags |= radiopharmaceutical(dataset)
        file.tags["TransferSyntax"] = str(dataset.file_meta.get("TransferSyntaxUID", ""))
        sop_class = str(file.tags.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))
        file.problem = why_no_image(file.tags, sop_class)
        if not file.problem:
            _find_frames(file, dataset)
    except DamagedValueError as error:
        file.problem, file.failed, file.frames = f"damaged DICOM header: its {error} cannot be understood", True, []
        file.tags = tag_values(dataset, WHOSE) | file.tags
    except Exception as error:  # pydicom raises many kinds on damaged files
        file.problem, file.failed = f"damaged DICOM header ({type(error).__name__})", True
        file.frames = []
    return file


def _find_frames(file: ScanFile, dataset: Dataset) -> None:
    """Fill ``file.frames``, or say why there are none."""
    tags = file.tags
    if not tags.get("SeriesInstanceUID"):
        file.problem, file.failed = "no SeriesInstanceUID", True
    elif dataset.get("PerFrameFunctionalGroupsSequence"):
        file.frames = enhanced_frames(file, dataset)
        if len(file.frames) != int(tags.get("NumberOfFrames", 1)):
            file.problem, file.failed = (
                f"{len(file.frames)} frames described, {tags.get('NumberOfFrames')} stored",
                True,
            )
            file.frames = []
    elif is_mosaic(tags):
        file.frames, file.tiles, file.problem = mosaic_frames(file)
        file.failed = bool(file.problem)
    elif int(tags.get("NumberOfFrames", 1)) > 1:
        file.problem = "several frames without geometry for each"
        file.failed = tags.get("Modality") in VOLUME_MODALITIES
    else:
        file.frames = [Frame.of_tags(file, 0, tags)]
    if file.frames and any(not frame.has_geometry for frame in file.frames):
        file.frames = []
        if any(SCREEN.fullmatch(str(word)) for word in tags.get("ImageType", ())):
            file.problem = "screenshot or report, by its ImageType"
            return
        wanted = tags.get("Modality") in VOLUME_MODALITIES
        file.problem = "no ImagePositionPatient, ImageOrientationPatient or PixelSpacing"
        file.problem += "" if wanted else ": a projection or picture, not a plane in the patient"
        file.failed = wanted and "LOCALIZER" not in tags.get("ImageType", ())
