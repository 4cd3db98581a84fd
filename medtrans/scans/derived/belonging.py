"""What a derived series shares with its source: the patient, the study, the frame of reference."""

from __future__ import annotations

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import validate_value

# PS3.3 C.7.2.1 General Study and the parts of SOP Common that say how text and times are meant
STUDY = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "StudyDescription", "AccessionNumber", "IssuerOfAccessionNumberSequence", "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence", "ProcedureCodeSequence", "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence", "ReferencedStudySequence", "RequestingService",
    "RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence", "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence", "ReasonForVisit", "ReasonForVisitCodeSequence", "AdmissionID",
    "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence", "PatientState", "LongitudinalTemporalInformationModified",
)  # fmt: skip
# PS3.3 C.7.4.1 and what of C.7.3.1 and C.7.6.1 holds for everything scanned in one position
POSITION = (
    "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "AnatomicalOrientationType",
    "BodyPartExamined", "Laterality", "ImageLaterality", "AnatomicRegionSequence", "AcquisitionDate",
    "AcquisitionTime", "AcquisitionDateTime", "AcquisitionNumber", "BurnedInAnnotation",
    "RecognizableVisualFeatures", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip
PATIENT, TRIAL = 0x0010, 0x0012  # groups: PS3.3 C.7.1.1 and C.7.2.2; C.7.1.3 and C.7.2.3
OF_SERIES = {0x00120060, 0x00120071, 0x00120072}  # of the trial's group: these are a series' own
AS_TEXT = ("DS", "IS", "PN")  # pydicom has classes for these, and checks the text
EMPTY_IF_UNKNOWN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip

# PS3.16 table L-1: body parts that have no side, of which an image must not say one
UNPAIRED = {
    "ABDOMEN", "AORTA", "BACK", "BLADDER", "BRAIN", "CEREBELLUM", "CSPINE", "CTSPINE", "CERVIX", "CHEST",
    "CIRCLEOFWILLIS", "COCCYX", "COLON", "CORONARYARTERY", "DUODENUM", "ESOPHAGUS", "FACE", "GALLBLADDER", "HEAD",
    "HEADNECK", "HEART", "ILEUM", "ILIUM", "JAW", "JEJUNUM", "LARYNX", "LIVER", "LSPINE", "LSSPINE", "MAXILLA",
    "MEDIASTINUM", "MOUTH", "NECK", "NOSE", "PANCREAS", "PELVIS", "PENIS", "PHARYNX", "PROSTATE", "RECTUM", "SSPINE",
    "SKULL", "SPINE", "SPLEEN", "STERNUM", "STOMACH", "THYMUS", "THYROID", "TONGUE", "TRACHEA", "TLSPINE", "TSPINE",
    "URETER", "URETHRA", "UTERUS", "VAGINA", "VULVA", "WHOLEBODY",
}  # fmt: skip


def belonging(header: Dataset) -> Dataset:
    """Patient, study and position as ``header`` has them, verbatim; what must be present but is unknown is empty.

    Private elements stay behind, and optional ones whose value their type does not allow: archives refuse them.
    """
    shared = Dataset()
    wanted = {tag_for_keyword(keyword) for keyword in (*STUDY, *POSITION)}
    required = {tag_for_keyword(keyword) for keyword in (*EMPTY_IF_UNKNOWN, "StudyInstanceUID")}
    for tag in header.keys():  # noqa: SIM118  iterating over a data set would decode all of it
        if (tag in wanted or _of_patient(tag)) and (tag in required or _is_valid(header[tag])):
            shared.add(header[tag])
    for keyword in EMPTY_IF_UNKNOWN:
        if keyword not in shared:
            setattr(shared, keyword, None if keyword.endswith(("Date", "Time")) else "")
    if str(shared.get("BodyPartExamined") or "") in UNPAIRED:
        shared.pop("Laterality", None)
    elif "ImageLaterality" not in shared and "Laterality" not in shared:
        shared.Laterality = ""  # must be there for an organ that there may be two of
    return shared


def _of_patient(tag: BaseTag) -> bool:
    return tag.group in (PATIENT, TRIAL) and tag not in OF_SERIES


def _is_valid(element: DataElement) -> bool:
    """Whether every value is one of its type, and a sequence has items."""
    if element.VR == "SQ" or element.is_empty:
        return element.VR != "SQ" or len(element.value) > 0
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    try:
        for value in values:
            validate_value(element.VR, str(value) if element.VR in AS_TEXT else value, config.RAISE)
    except ValueError:
        return False
    return True
