"""The actions against rows of PS3.15 table E.1-1, typed from the standard."""

import pytest
from pydicom.datadict import keyword_dict, tag_for_keyword
from pydicom.sr.codedict import codes

from medtrans import InputError
from medtrans.scans.deidentify import profile
from medtrans.scans.deidentify.profile import Choices, actions_of, basic_actions

# attribute: Basic Profile; patient, device, institution: columns of the options, K where they retain
E_1_1 = {
    "AccessionNumber": "Z", "AcquisitionComments": "X", "AcquisitionDate": "X/Z", "AdmittingDiagnosesDescription": "X",
    "ClinicalTrialSponsorName": "D", "ContentDate": "Z/D", "ContentSequence": "D", "ContrastBolusAgent": "Z/D",
    "CurrentPatientLocation": "X", "DerivationDescription": "X", "DeviceUID": "U", "DigitalSignaturesSequence": "X",
    "FrameOfReferenceUID": "U", "IconImageSequence": "X", "ImageComments": "X", "InstitutionAddress": "X",
    "InstitutionName": "X/Z/D", "IssuerOfPatientID": "X", "MedicalAlerts": "X", "NameOfPhysiciansReadingStudy": "X",
    "OperatorsName": "X/Z/D", "OriginalAttributesSequence": "X", "OtherPatientIDs": "X", "OtherPatientIDsSequence": "X",
    "PatientAddress": "X", "PatientAge": "X", "PatientBirthDate": "Z", "PatientComments": "X", "PatientSex": "Z",
    "PatientSize": "X", "PatientTelephoneNumbers": "X", "PatientWeight": "X", "PerformedProcedureStepID": "X",
    "PerformingPhysicianName": "X", "ProtocolName": "X/D", "ReferencedImageSequence": "X/Z/U*",
    "ReferencedSOPInstanceUID": "U", "ReferringPhysicianName": "Z", "RequestAttributesSequence": "X",
    "RequestingPhysician": "X", "SOPInstanceUID": "U", "SeriesDate": "X/D", "SeriesDescription": "X",
    "SeriesInstanceUID": "U", "SourceImageSequence": "X/Z/U*", "StationName": "X/Z/D", "StudyDate": "Z",
    "StudyDescription": "X", "StudyID": "Z", "StudyInstanceUID": "U", "TimezoneOffsetFromUTC": "X",
    "DeviceSerialNumber": "X/Z/D", "MediaStorageSOPInstanceUID": "U", "PersonName": "D", "VerifyingObserverName": "D",
    "PatientReligiousPreference": "X", "EthnicGroup": "X", "Occupation": "X", "GantryID": "X", "MilitaryRank": "X",
}  # fmt: skip
ALLOWED = {
    "X": {"removed"},
    "Z": {"emptied"},
    "D": {"replaced by a dummy"},
    "U": {"UID replaced"},
    "U*": {"items cleaned"},
}


@pytest.mark.parametrize(("keyword", "letters"), E_1_1.items())
def test_each_attribute_is_treated_as_the_standard_allows(keyword, letters):
    allowed = set().union(*(ALLOWED[letter] for letter in letters.split("/")))
    assert basic_actions()[tag_for_keyword(keyword)] in allowed


def test_names_and_ids_become_pseudonyms():
    assert basic_actions()[0x00100010] == basic_actions()[0x00100020] == profile.NAME


def test_every_attribute_of_a_person_is_treated():
    """No attribute of the patient's groups that holds a name, address or number is left to itself."""
    actions = basic_actions()
    forgotten = [
        keyword
        for keyword, tag in keyword_dict.items()
        if tag >> 16 == 0x0010
        and tag not in actions
        and any(word in keyword for word in ("Name", "Address", "Number", "ID", "Birth"))
    ]
    assert [
        name for name in forgotten if name != "TypeOfPatientID" and not name.startswith(("Strain", "Breed"))
    ] == []  # animals


@pytest.mark.parametrize(
    ("option", "retained", "still_gone"),
    [
        ("patient", {"PatientSex", "PatientAge", "PatientSize", "PatientWeight"}, {"PatientBirthDate", "PatientName"}),
        ("device", {"StationName", "DeviceSerialNumber", "GantryID"}, {"InstitutionName", "OperatorsName"}),
        ("institution", {"InstitutionName", "InstitutionAddress"}, {"StationName", "ReferringPhysicianName"}),
    ],
)
def test_an_option_retains_what_its_column_says_and_no_more(option, retained, still_gone):
    actions = actions_of(Choices(frozenset({option})))
    assert {actions[tag_for_keyword(keyword)] for keyword in retained} == {profile.KEEP}
    assert profile.KEEP not in {actions[tag_for_keyword(keyword)] for keyword in still_gone}
    basic = actions_of(Choices())
    assert all(basic[tag_for_keyword(keyword)] != profile.KEEP for keyword in retained)


def test_lists_of_options_name_attributes_that_exist():
    for names in (profile.PATIENT, profile.DEVICE, profile.INSTITUTION, profile.DESCRIPTORS, profile.NOT_OF_PATIENT):
        assert [name for name in names if tag_for_keyword(name) is None] == []
    assert {tag_for_keyword(name) for name in (*profile.PATIENT, *profile.DESCRIPTORS)} <= {*basic_actions()}


def test_method_codes_are_those_of_cid_7050():
    context = {codes.cid7050.__getattr__(name) for name in codes.cid7050.dir()}
    known = {code.value: code.meaning for code in context}
    every = Choices(frozenset(Choices.RETAINED)).codes
    assert len(every) == 7
    assert all(known[value] == meaning for value, meaning in every)
    assert Choices(dates="remove").codes == [("113100", known["113100"])]


@pytest.mark.parametrize(("retain", "dates"), [("weight", "shift"), ("", "keep")])
def test_unknown_options_are_refused_with_those_there_are(retain, dates):
    with pytest.raises(InputError, match="Choose"):
        Choices.of(retain, dates)
