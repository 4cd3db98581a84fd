"""Where a derived series comes from: said in words, in codes, and by the images it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medtrans.scans.derived.sources import MARK
from medtrans.scans.export.frames import Frame

NOTICE = "NOT FOR DIAGNOSIS"
MANUFACTURER = "medtrans"
LONGEST_NAME, LONGEST_TEXT = 64, 1024  # characters of LO and of ST
SCANNER = ("InstitutionName", "InstitutionAddress", "StationName", "Manufacturer", "ManufacturerModelName",
           "DeviceSerialNumber", "SoftwareVersions")  # fmt: skip


@dataclass(frozen=True)
class Algorithm:
    """What made the values.

    Attributes:
        name: such as ``MedGAN``.
        version: of the algorithm; may be empty.
        model: SHA-256 of the weights, hexadecimal; may be empty.
    """

    name: str
    version: str = ""
    model: str = ""

    @property
    def described(self) -> str:
        """``MedGAN 0.1.0 (model sha256 12ab…)``, as far as it is known."""
        return " ".join([self.name, *([self.version] if self.version else [])]) + (
            f" (model sha256 {self.model})" if self.model else ""
        )


def coded(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def series_description(name: str, algorithm: Algorithm) -> str:
    """What viewers list: begins with SYNTHETIC, and says what it must not be used for."""
    return f"{MARK} {name}, {NOTICE} ({algorithm.name})"[:LONGEST_NAME]


def provenance(
    name: str, algorithm: Algorithm, header: Dataset, source: str, said: Sequence[str], made: datetime
) -> Dataset:
    """What every image of the series says of its making.

    Args:
        name: what viewers should read: CT, T2, PET.
        algorithm: what made the values.
        header: of an image of the source.
        source: modality of the source.
        said: further sentences for the description.
        made: when.
    """
    from medtrans import __version__

    dataset = Dataset()
    dataset.ContentQualification = "RESEARCH"
    dataset.SeriesDescription = series_description(name, algorithm)
    told = [f"Synthetic {name}, computed from {source} by {algorithm.described}; {NOTICE}", *said]
    dataset.DerivationDescription = ". ".join(told)[:LONGEST_TEXT]
    dataset.DerivationCodeSequence = [coded(codes.DCM.ArtificialIntelligence)]
    dataset.ImageComments = f"{MARK}, {NOTICE}"
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, algorithm.name[:LONGEST_NAME]
    dataset.SoftwareVersions = [f"medtrans {__version__}", *([algorithm.version] if algorithm.version else [])]
    dataset.ContributingEquipmentSequence = [_scanner(header), _software(dataset, algorithm, made)]
    return dataset


def _scanner(header: Dataset) -> Dataset:
    """The equipment that acquired the source."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.AcquisitionEquipment)]
    for keyword in SCANNER:
        if header.get(keyword):
            item[keyword] = header[keyword]
    if not item.get("Manufacturer"):
        item.Manufacturer = "unknown"  # type 1 here
    return item


def _software(dataset: Dataset, algorithm: Algorithm, made: datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.SynthesizingEquipment)]
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"):
        item[keyword] = dataset[keyword]
    item.ContributionDateTime = f"{made:%Y%m%d%H%M%S}"
    item.ContributionDescription = algorithm.described[:LONGEST_TEXT]
    return item


def referenced(frame: Frame, purpose: bool = True) -> Dataset:
    """The image of ``frame``, and its frame number in a multi-frame one."""
    item = Dataset()
    item.ReferencedSOPClassUID = frame.tags.get("SOPClassUID", "")
    item.ReferencedSOPInstanceUID = frame.tags.get("SOPInstanceUID", "")
    if not purpose:
        return item
    if "NumberOfFrames" in frame.tags:
        item.ReferencedFrameNumber = frame.index + 1
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [coded(codes.DCM.SourceImageForImageProcessingOperation)]
    return item


def referenced_series(frame: Frame) -> Dataset:
    """The series of ``frame``, with the one image that is referred to (PS3.3 C.12.2)."""
    item = Dataset()
    item.SeriesInstanceUID = frame.tags["SeriesInstanceUID"]
    item.ReferencedInstanceSequence = [referenced(frame, purpose=False)]
    return item
