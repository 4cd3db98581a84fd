"""What is done with which attribute: PS3.15 table E.1-1 with the options that were chosen.

The actions of the Basic Profile come from dicom-anonymizer's table of edition 2026c. It has no columns for the options
and says nothing of attributes that are not listed; both stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import tag_for_keyword

from medtrans.errors import InputError

EDITION = "2026c"
REMOVE, EMPTY, DUMMY, UID, WALK = "removed", "emptied", "replaced by a dummy", "UID replaced", "items cleaned"
KEEP, CLEAN, NAME = "kept by an option", "text cleaned", "replaced by a pseudonym"
SHIFT, TIME = "date shifted", "time of day kept"
# Where the table leaves a choice by what the object must have (X/Z/D), the one that always conforms is taken.
CATEGORIES = {
    "D_TAGS": DUMMY, "Z_TAGS": EMPTY, "X_TAGS": REMOVE, "U_TAGS": UID, "Z_D_TAGS": DUMMY, "X_Z_TAGS": EMPTY,
    "X_D_TAGS": DUMMY, "X_Z_D_TAGS": DUMMY, "X_Z_U_STAR_TAGS": WALK,
}  # fmt: skip
# Identifying, too, and in no list of the table
FURTHER = (
    "PatientBirthDateInAlternativeCalendar", "PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar",
    "IssuerOfPatientIDQualifiersSequence", "SourcePatientGroupIdentificationSequence",
    "GroupOfPatientsIdentificationSequence", "IssuerOfAccessionNumberSequence", "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence", "AssigningFacilitySequence", "PertinentDocumentsSequence",
    "PertinentResourcesSequence", "RequestingServiceCodeSequence", "PatientClinicalTrialParticipationSequence",
    "DeviceID", "PlacerOrderNumberProcedure", "FillerOrderNumberProcedure", "PerformedProcedureTypeDescription",
    "BreedRegistrationSequence", "ResponsiblePersonRole", "RetrieveURL", "RetrieveURI",
    "PatientLocationCoordinatesSequence", "DeidentificationActionSequence",
    "PrivateDataElementCharacteristicsSequence", "CodingSchemeName", "CodingSchemeResponsibleOrganization",
)  # fmt: skip
PSEUDONYMS = ("PatientName", "PatientID", "ClinicalTrialSubjectID")
# Columns of table E.1-1 with K: retained as they are
PATIENT = (
    "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered", "EthnicGroup", "PregnancyStatus",
    "SmokingStatus",
)  # fmt: skip
DEVICE = (
    "StationName", "DeviceSerialNumber", "DeviceUID", "DeviceID", "GantryID", "GeneratorID", "CassetteID", "PlateID",
    "DetectorID", "DeviceDescription", "DeviceLabel", "LensMake", "LensModel", "LensSerialNumber", "LensSpecification",
    "ManufacturerDeviceClassUID", "ManufacturerDeviceIdentifier", "PerformedStationAETitle", "PerformedStationName",
    "PerformedStationNameCodeSequence", "PerformedStationGeographicLocationCodeSequence",
    "ScheduledProcedureStepLocation", "ScheduledStationAETitle", "ScheduledStationName",
    "ScheduledStationNameCodeSequence", "ScheduledStationGeographicLocationCodeSequence", "ScheduledStudyLocation",
    "ScheduledStudyLocationAETitle", "SourceManufacturer", "SourceSerialNumber", "TransducerIdentificationSequence",
    "TreatmentMachineName", "UDISequence", "UniqueDeviceIdentifier", "XRayDetectorID", "XRayDetectorLabel",
    "XRaySourceID",
)  # fmt: skip
INSTITUTION = (
    "InstitutionName", "InstitutionAddress", "InstitutionCodeSequence", "InstitutionalDepartmentName",
    "InstitutionalDepartmentTypeCodeSequence", "ClinicalTrialCoordinatingCenterName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialProtocolEthicsCommitteeName", "CodingSchemeName",
    "CodingSchemeResponsibleOrganization",
)  # fmt: skip
# Column with C: what is read of them are words of imaging, all else goes; other descriptors go whole
DESCRIPTORS = (
    "SeriesDescription", "StudyDescription", "ProtocolName", "PerformedProcedureStepDescription",
    "RequestedProcedureDescription", "ScheduledProcedureStepDescription", "AcquisitionProtocolDescription",
    "AcquisitionDeviceProcessingDescription", "AcquisitionComments", "ContrastBolusAgent", "RequestedContrastAgent",
    "DerivationDescription", "ImageComments", "FrameComments", "ROIName", "ROIObservationLabel", "StructureSetLabel",
    "StructureSetName", "RTPlanLabel", "ContributionDescription",
)  # fmt: skip
# Dates that are not the patient's: moved with his, they would tell by how much
NOT_OF_PATIENT = (
    "ContextGroupVersion", "ContextGroupLocalVersion", "TemplateVersion", "TemplateLocalVersion", "DateOfManufacture",
    "DateOfInstallation", "DateOfLastCalibration", "TimeOfLastCalibration", "DateTimeOfLastCalibration",
    "CalibrationDate", "CalibrationTime", "CalibrationDateTime", "DateOfLastDetectorCalibration",
    "TimeOfLastDetectorCalibration", "DateOfGainCalibration", "TimeOfGainCalibration", "ExpiryDate",
    "ExpirationDateTime", "ProductExpirationDateTime", "SourceStrengthReferenceDate",
    "SourceStrengthReferenceTime", "EffectiveDateTime", "HangingProtocolCreationDateTime",
    "EthicsCommitteeApprovalEffectivenessStartDate", "EthicsCommitteeApprovalEffectivenessEndDate",
    "PatientBirthDate", "PatientBirthTime",
)  # fmt: skip
CODES = {  # CID 7050
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "private": ("113111", "Retain Safe Private Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
}


@dataclass(frozen=True)
class Choices:
    """Which options of the profile are taken.

    Args:
        retain: any of ``patient`` (sex, age, size, weight, …), ``device``, ``institution``, ``descriptors`` (words of
            imaging in them), ``private`` (elements known to be safe).
        dates: ``shift`` (one number of days a patient, times kept) or ``remove``.

    Raises:
        InputError: a value is none of these.
    """

    retain: frozenset[str] = frozenset()
    dates: str = "shift"

    RETAINED: ClassVar[tuple[str, ...]] = ("patient", "device", "institution", "descriptors", "private")
    DATES: ClassVar[tuple[str, ...]] = ("shift", "remove")

    def __post_init__(self) -> None:
        unknown = sorted(self.retain - {*self.RETAINED})
        if unknown:
            raise InputError("--retain", f"has {unknown[0]!r}", f"Choose from {', '.join(self.RETAINED)}, with commas")
        if self.dates not in self.DATES:
            raise InputError("--dates", f"is {self.dates!r}", f"Choose one of {', '.join(self.DATES)}")

    @classmethod
    def of(cls, retain: str, dates: str) -> Choices:
        """From words with commas; none for an empty text or ``none``."""
        words = {word.strip().lower() for word in retain.split(",")} - {"", "none"}
        return cls(frozenset(words), dates)

    @property
    def codes(self) -> list[tuple[str, str]]:
        """Value and meaning of the method codes (CID 7050), the profile's first."""
        names = {*self.retain, *(["dates"] if self.dates == "shift" else [])}
        return [CODES["basic"], *sorted(CODES[name] for name in names)]


@cache
def basic_actions() -> dict[int, str]:
    """Tag to action of the Basic Profile; repeating groups (50xx, 60xx) are not in it."""
    table = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    actions = {
        tag[0] << 16 | tag[1]: action for name, action in CATEGORIES.items() for tag in table[name] if len(tag) == 2
    }
    return actions | dict.fromkeys(_tags(FURTHER), REMOVE) | dict.fromkeys(_tags(PSEUDONYMS), NAME)


@cache
def actions_of(choices: Choices) -> dict[int, str]:
    """Tag to action with the options chosen; dates and times are decided by their type, see :func:`shifts`."""
    actions = dict(basic_actions())
    for option, keywords in (("patient", PATIENT), ("device", DEVICE), ("institution", INSTITUTION)):
        if option in choices.retain:
            actions |= dict.fromkeys(_tags(keywords), KEEP)
    if "descriptors" in choices.retain:
        actions |= dict.fromkeys(_tags(DESCRIPTORS), CLEAN)
    if choices.dates == "shift":
        actions[_tags(("TimezoneOffsetFromUTC",))[0]] = KEEP
    return actions


@cache
def shifts(tag: int, kind: str) -> bool:
    """Whether an attribute of value representation ``kind`` is one that the shift of a patient's dates is for."""
    return kind in ("DA", "DT", "TM") and tag not in _tags(NOT_OF_PATIENT)


@cache
def _tags(keywords: tuple[str, ...]) -> tuple[int, ...]:
    found = tuple(tag_for_keyword(keyword) for keyword in keywords)
    return tuple(tag for tag in found if tag is not None)  # an older dictionary may not know them all
