"""Identifying values planted wherever DICOM lets them be, and looked for in the bytes that are written."""

import io
import string
from collections import Counter
from datetime import datetime

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword
from pydicom.dataset import Dataset

from medtrans.scans.deidentify.headers import plain_tags
from medtrans.scans.deidentify.profile import DUMMY, EMPTY, KEEP, NAME, REMOVE, basic_actions

GONE = {REMOVE, EMPTY, DUMMY, NAME}
LENGTHS = {"AE": 16, "SH": 16, "CS": 16, "LO": 64, "PN": 60, "ST": 200, "LT": 200, "UT": 200, "UC": 200, "UR": 60}


def kind_of(tag):
    try:
        return dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return ""


PLANTED_IN = sorted(
    tag
    for tag, action in basic_actions().items()
    if action in GONE and kind_of(tag) in LENGTHS and tag >> 16 >= 0x0008 and tag not in (0x00020003,)
)
PEOPLE = sorted(tag for name, tag in keyword_dict.items() if dictionary_VR(tag) == "PN" and tag >> 16 >= 8)
SEQUENCES = ["ReferencedImageSequence", "ProcedureCodeSequence", "RadiopharmaceuticalInformationSequence",
             "RequestAttributesSequence", "OriginalAttributesSequence", "SharedFunctionalGroupsSequence",
             "ContributingEquipmentSequence", "VerifyingObserverSequence", "InstitutionCodeSequence"]  # fmt: skip
WORD = st.text(string.ascii_uppercase, min_size=6, max_size=10).map("ZQ{}".format)
DEFAULT = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(dataset):
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def plant(dataset, tag, word):
    """``word`` in the element, as its type allows."""
    kind = kind_of(tag)
    text = word if kind in ("AE", "CS", "SH", "PN") else f"seen by {word} today"
    dataset.add_new(tag, kind, text[: LENGTHS[kind]] if kind != "PN" else f"{word}^{word[::-1]}")


@DEFAULT
@given(
    st.lists(
        st.tuples(st.sampled_from(PLANTED_IN + PEOPLE), WORD, st.integers(0, 3), st.sampled_from(SEQUENCES)),
        min_size=1,
        max_size=12,
    )
)
def test_nothing_planted_in_what_the_profile_names_is_written(image, rules, whose, nested, holds, planted):
    dataset = image()
    for tag, word, depth, sequence in planted:
        inner = Dataset()
        plant(inner, tag, word)
        dataset.update(nested(inner, sequence, depth))
    words = [word for _, word, _, _ in planted]
    before = written(dataset)
    data = written(rules().header(dataset, whose))
    assert any(holds(before, word) for word in words)  # the search finds what is there
    assert [word for word in words if holds(data, word)] == []


@DEFAULT
@given(
    st.integers(0x0009, 0xFFFE).map(lambda group: group | 1),
    st.sampled_from(["LO", "UT", "PN", "OB", "UN", "SQ", "UI"]),
    WORD,
    st.integers(0, 2),
)
def test_nothing_private_is_written(image, rules, whose, nested, holds, group, kind, word, depth):
    dataset, inner = image(), Dataset()
    creator = f"ACME {word}"
    block = inner.private_block(group, creator, create=True)
    item = Dataset()
    item.PatientComments = word
    value = {"SQ": [item], "OB": word.encode() + b"\0", "UN": word.encode() + b"\0", "UI": "1.2.3"}.get(kind, word)
    block.add_new(0x01, kind, value)
    dataset.update(nested(inner, "SharedFunctionalGroupsSequence", depth))
    data = written(rules("patient", "device", "institution", "descriptors", "private").header(dataset, whose))
    assert not holds(data, word)


RETAINED_TEXT = sorted(
    tag
    for tag in keyword_dict.values()
    if dictionary_VR(tag) in ("LO", "SH", "LT", "ST", "UT", "UC") and tag >> 16 >= 8 and tag not in basic_actions()
)


@DEFAULT
@given(
    st.lists(st.sampled_from(RETAINED_TEXT), min_size=1, max_size=8),
    st.integers(0, 2),
    st.sampled_from(["{}", "{} brain", "of {}, 3mm"]),
)
def test_what_names_the_patient_elsewhere_is_taken_out_of_texts_that_stay(
    image, rules, whose, nested, holds, tags, depth, form
):
    dataset = image(PatientName="Zqvortex^Ulrika", PatientID="ZQ-998877", PatientBirthDate="19310417",
                    OtherPatientIDs="OLDID5566",
                    ReferringPhysicianName="Brzezinski^Kazimierz", PatientAddress="Hauptstrasse 12")  # fmt: skip
    secrets = ["Zqvortex", "Ulrika", "ZQ-998877", "17.04.1931", "OLDID5566", "brzezinski", "Hauptstrasse 12"]
    for number, tag in enumerate(tags):
        inner = Dataset()
        secret = secrets[number % len(secrets)]
        inner.add_new(tag, dictionary_VR(tag), form.format(secret)[:16])
        dataset.update(nested(inner, "SharedFunctionalGroupsSequence", depth))
    data = written(rules().header(dataset, whose))
    assert [secret for secret in secrets if holds(data, secret)] == []


OTHER_KINDS = {
    "PatientBirthDate": "19310417", "PatientBirthTime": "235911", "PatientAge": "087Y", "PatientWeight": "81.375",
    "PatientSize": "1.8725", "LastMenstrualDate": "19990909", "GPSLatitude": "52.520008",
    "SOPInstanceUID": "1.2.99.777",
    "IrradiationEventUID": ["1.2.99.778", "1.2.99.779"], "FailedSOPInstanceUIDList": "1.2.99.780",
    "AcquisitionDateTime": "20200102111213.5", "ContextGroupVersion": "20020904", "EncapsulatedDocument": b"19310417",
    "StationAETitle": "ROOM7QZ", "RetrieveURL": "http://pacs.example/4711", "DateOfLastCalibration": "20190807",
}  # fmt: skip


@pytest.mark.parametrize(("keyword", "value"), OTHER_KINDS.items())
@pytest.mark.parametrize("dates", ["shift", "remove"])
def test_values_of_every_type_go(image, rules, whose, holds, keyword, value, dates):
    dataset = image()
    setattr(dataset, keyword, value)
    data = written(rules(dates=dates).header(dataset, whose))
    for one in value if isinstance(value, list) else [value]:
        assert not holds(data, one.decode() if isinstance(one, bytes) else one)


@pytest.mark.parametrize("vr", ["DS", "IS", "AS", "TM", "UI"])
def test_text_in_an_element_for_numbers_is_not_written(image, rules, whose, holds, vr):
    keyword = {
        "DS": "EchoTime",
        "IS": "EchoTrainLength",
        "AS": "SelectorASValue",
        "TM": "StudyTime",
        "UI": "SOPClassUID",
    }[vr]
    dataset = image()
    tag = tag_for_keyword(keyword)
    dataset[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, 8, b"Zqvortex", 0, False, True)
    if vr == "UI":
        dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    rules("patient").header(dataset, whose)
    assert not holds(written(dataset), "Zqvortex")


def test_dummies_do_not_name_an_alphabet_that_there_is_not(image, rules, whose, item):
    dataset = image()
    dataset.InstitutionCodeSequence = [item(SpecificCharacterSet="ISO_IR 100", CodeValue="1", CodeMeaning="Elsewhere")]
    rules().header(dataset, whose)
    (code,) = dataset.InstitutionCodeSequence
    assert code.CodeMeaning == "REMOVED"
    assert "SpecificCharacterSet" not in code


def test_what_names_the_patient_is_taken_out_of_words_of_code(image, rules, whose, holds):
    dataset = image(PatientName="Zqvortex^Ulrika", PatientID="ZQ-998877", BodyPartExamined="ZQVORTEX HEAD",
                    ImageType=["ORIGINAL", "ZQVORTEX_U", "ZQ-998877"])  # fmt: skip
    data = written(rules().header(dataset, whose))
    assert not holds(data, "Zqvortex")
    assert not holds(data, "ZQ-998877")
    assert dataset.BodyPartExamined == "HEAD"
    assert [*dataset.ImageType] == ["ORIGINAL", "U", ""]


def test_a_hospitals_own_coding_scheme_does_not_name_it(image, rules, whose, item, holds):
    own, standard = "1.2.826.0.1.4711.9", "2.16.840.1.113883.6.96"  # SNOMED CT

    def coded():
        scheme = item(CodingSchemeDesignator="99STE", CodingSchemeUID=own, CodingSchemeName="Elsewhere codes",
                      CodingSchemeResponsibleOrganization="St. Elsewhere")  # fmt: skip
        codes = [item(CodeValue="1", CodingSchemeUID=uid, CodeMeaning="Brain") for uid in (own, standard)]
        return image(CodingSchemeIdentificationSequence=[scheme], ProcedureCodeSequence=codes)

    gone = rules().header(coded(), whose)
    assert not holds(written(gone), "Elsewhere")
    assert not holds(written(gone), own)
    new = gone.CodingSchemeIdentificationSequence[0].CodingSchemeUID
    assert [code.CodingSchemeUID for code in gone.ProcedureCodeSequence] == [new, standard]
    kept = rules("institution").header(coded(), whose).CodingSchemeIdentificationSequence[0]
    assert (kept.CodingSchemeUID, kept.CodingSchemeResponsibleOrganization) == (own, "St. Elsewhere")


def test_plain_values_follow_the_rules_of_the_copies(rules, whose):
    talairach = "1.2.840.10008.1.4.1.1"  # a frame of reference that the standard names
    tags = {
        "PatientName": "Zqvortex^Ulrika", "BodyPartExamined": "ZQVORTEX HEAD", "ImageType": ("ORIGINAL", "ZQVORTEX_U"),
        "FrameOfReferenceUID": talairach, "StudyInstanceUID": "1.2.3", "StudyDate": "17 April 1931",
    }  # fmt: skip
    plain = plain_tags(rules(), tags, whose)
    assert (plain["BodyPartExamined"], plain["ImageType"]) == ("HEAD", ("ORIGINAL", "U"))
    assert plain["FrameOfReferenceUID"] == talairach
    assert plain["StudyInstanceUID"] == rules().key.uid("1.2.3")
    assert plain["StudyDate"] == ""


@pytest.mark.parametrize(("keyword", "value"), [("TimezoneOffsetFromUTC", "ZQVORTEX"), ("PatientAge", "ZQV")])
def test_what_an_option_retains_must_be_what_it_is_called(image, rules, whose, holds, keyword, value):
    dataset = image(**{keyword: value})
    assert not holds(written(rules("patient").header(dataset, whose)), value)
    true = {"TimezoneOffsetFromUTC": "+0100", "PatientAge": "033Y"}
    assert rules("patient").header(image(**true), whose)[keyword].value == true[keyword]


def test_overlays_curves_and_unknown_elements_go(image, rules, whose, holds):
    dataset = image()
    for group in (0x6000, 0x6002, 0x601E):
        dataset.add_new((group, 0x3000), "OW", b"ZQVORTEX")
        dataset.add_new((group, 0x0022), "LO", "ZQVORTEX")
        dataset.add_new((group, 0x0010), "US", 4)
    dataset.add_new((0x5000, 0x3000), "OW", b"ZQVORTEX")
    dataset.add_new((0x0008, 0x9998), "LO", "ZQVORTEX")
    dataset.add_new((0x0028, 0xFFF8), "UN", b"ZQVORTEX")
    dataset.add_new((0xFFFC, 0xFFFC), "OB", b"ZQVORTEX")
    data = written(rules().header(dataset, whose))
    assert not holds(data, "ZQVORTEX")
    left = pydicom.dcmread(io.BytesIO(data))
    assert not [tag for tag in left.keys() if tag.group & 0xFF00 in (0x5000, 0x6000)]  # noqa: SIM118


def test_references_still_lead_to_what_they_named(image, rules, whose, item, nested):
    one, two = image(), image()
    two.ReferencedImageSequence = [
        item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
    ]
    two.SourceImageSequence = [item(ReferencedSOPInstanceUID=one.SOPInstanceUID)]
    two.update(
        nested(item(ReferencedFrameOfReferenceUID=str(one.FrameOfReferenceUID)), "SharedFunctionalGroupsSequence", 3)
    )
    sop_class = str(one.SOPClassUID)
    old = str(one.SOPInstanceUID)
    for dataset in (one, two):
        rules().header(dataset, whose)
    assert one.SOPInstanceUID != old
    assert two.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert two.SourceImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPClassUID == one.SOPClassUID == sop_class
    inner = two.SharedFunctionalGroupsSequence[0].SharedFunctionalGroupsSequence[0].SharedFunctionalGroupsSequence[0]
    assert inner.ReferencedFrameOfReferenceUID == one.FrameOfReferenceUID
    assert one.StudyInstanceUID != two.StudyInstanceUID


def test_new_uids_are_valid_and_differ_with_the_key(image, rules, whose):
    first, again, other = (rules(salt=salt).header(dataset, whose) for salt, dataset in _three(image))
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert first.StudyDate != other.StudyDate
    assert pydicom.uid.UID(first.SOPInstanceUID).is_valid
    assert len(first.SOPInstanceUID) <= 64


def _three(image):
    uids = {
        name: f"1.2.826.{number}"
        for number, name in enumerate(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"))
    }
    return [(salt, image(**uids)) for salt in (1, 1, 2)]


def test_all_dates_of_a_patient_move_together_and_times_stay(image, rules, whose, item):
    dataset = image(StudyDate="20200301", SeriesDate="20200302", AcquisitionDateTime="20200302235959.25+0100",
                    SeriesTime="000130", InstanceCreationDate="20200229")  # fmt: skip
    dataset.RadiopharmaceuticalInformationSequence = [
        item(RadiopharmaceuticalStartDateTime="20200301223000", RadiopharmaceuticalStartTime="223000")
    ]
    rules().header(dataset, whose)
    day = {name: datetime.strptime(str(dataset[name].value)[:8], "%Y%m%d") for name in
           ("StudyDate", "SeriesDate", "AcquisitionDateTime", "InstanceCreationDate")}  # fmt: skip
    assert (day["SeriesDate"] - day["StudyDate"]).days == 1
    assert day["AcquisitionDateTime"] == day["SeriesDate"]
    assert (day["StudyDate"] - day["InstanceCreationDate"]).days == 1  # over a leap day
    drug = dataset.RadiopharmaceuticalInformationSequence[0]
    assert datetime.strptime(drug.RadiopharmaceuticalStartDateTime, "%Y%m%d%H%M%S") == day["StudyDate"].replace(
        hour=22, minute=30
    )
    assert drug.RadiopharmaceuticalStartTime == "223000"
    assert str(dataset.AcquisitionDateTime)[8:] == "235959.25+0100"
    assert 31 <= (datetime(2020, 3, 1) - day["StudyDate"]).days <= 3680


def test_a_known_date_does_not_tell_the_shift(image, rules, whose, item):
    """Versions of code tables and calibrations of scanners are the same for many: moved, they would give it away."""
    dataset = image(DateOfLastCalibration="20190807")
    others = ("DateOfGainCalibration", "ExpiryDate", "ExpirationDateTime")
    for name in others:
        setattr(dataset, name, "20190807")
    dataset.ProcedureCodeSequence = [
        item(CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning="MR", ContextGroupVersion="20020904")
    ]
    rules().header(dataset, whose)
    assert dataset.ProcedureCodeSequence[0].ContextGroupVersion.startswith("19000101")
    assert {str(dataset.get(name) or "1900")[:4] for name in others} == {"1900"}
    assert dataset.DateOfLastCalibration in ("", "19000101") if "DateOfLastCalibration" in dataset else True


def test_what_was_done_is_written_in_words_and_codes(image, rules, whose):
    dataset = rules("patient", "descriptors").header(image(), whose)
    assert dataset.PatientIdentityRemoved == "YES"
    assert "PS3.15" in dataset.DeidentificationMethod
    assert [code.CodeValue for code in dataset.DeidentificationMethodCodeSequence] == [
        "113100",
        "113105",
        "113107",
        "113108",
    ]
    assert {code.CodingSchemeDesignator for code in dataset.DeidentificationMethodCodeSequence} == {"DCM"}
    assert dataset.LongitudinalTemporalInformationModified == "MODIFIED"
    assert rules(dates="remove").header(image(), whose).LongitudinalTemporalInformationModified == "REMOVED"


def test_a_second_time_finds_nothing_more_to_remove(image, rules, whose):
    dataset = image(InstitutionName="St. Elsewhere", PatientComments="tall", OperatorsName="Roe^R", PatientWeight="70")
    first, second = Counter(), Counter()
    once = written(rules("patient").header(dataset, whose, first))
    again = rules("patient").header(pydicom.dcmread(io.BytesIO(once)), whose, second)
    assert sum(first.values()) > sum(second.values())
    assert {action for *_, action in second if action == REMOVE} == set()
    assert [code.CodeValue for code in again.DeidentificationMethodCodeSequence] == ["113100", "113107", "113108"]
    assert isinstance(again.DeidentificationMethod, str)


def test_patient_characteristics_stay_only_when_chosen_and_nobody_is_very_old(image, rules, whose):
    tags = {"PatientSex": "F", "PatientAge": "097Y", "PatientWeight": "61.5", "PatientSize": "1.6"}
    gone, kept = rules().header(image(**tags), whose), rules("patient").header(image(**tags), whose)
    assert gone.PatientSex == ""
    assert not {"PatientAge", "PatientWeight", "PatientSize"} & {element.keyword for element in gone}
    assert (kept.PatientSex, kept.PatientAge, float(kept.PatientWeight)) == ("F", "090Y", 61.5)


def test_descriptors_keep_words_of_imaging_only_when_chosen(image, rules, whose):
    tags = {
        "SeriesDescription": "t1_mprage Zqvortex",
        "ProtocolName": "Zqvortex",
        "StudyDescription": "Brain 17.04.1931",
    }
    gone, clean = rules().header(image(**tags), whose), rules("descriptors").header(image(**tags), whose)
    assert "SeriesDescription" not in gone
    assert clean.SeriesDescription == "t1 mprage"
    assert clean.StudyDescription == "Brain"
    assert "Zqvortex" not in clean.ProtocolName


def test_meanings_of_codes_that_a_hospital_made_up_are_text(image, rules, whose, item):
    dataset = image()
    local = item(CodeValue="77", CodingSchemeDesignator="99STE", CodeMeaning="MRI brain for Dr. Zqvortex")
    known = item(CodeValue="T-A0100", CodingSchemeDesignator="SRT", CodeMeaning="Brain structure")
    dataset.ProcedureCodeSequence = [local, known]
    rules().header(dataset, whose)
    assert [code.CodeMeaning for code in dataset.ProcedureCodeSequence] == ["MRI brain for", "Brain structure"]


def test_safe_private_elements_stay_when_chosen_and_hold_numbers(image, rules, whose):
    def with_private():
        dataset = image(PatientName="Xylander^Quirin")
        pet = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        pet.add_new(0x00, "DS", "0.000551")
        pet.add_new(0x09, "LO", "Xylander")
        pet.add_new(0x02, "LO", "Xylander")
        clock = dataset.private_block(0x0071, "SIEMENS MED PT", create=True)
        clock.add_new(0x22, "DT", "20200102110000")
        return dataset

    assert not [tag for tag in rules().header(with_private(), whose).keys() if tag.is_private]  # noqa: SIM118
    kept = rules("private").header(with_private(), whose)
    assert kept[0x70531000].value == pytest.approx(0.000551)
    assert 0x70531009 not in kept
    assert 0x70531002 not in kept
    assert kept[0x00711022].value == f"{kept.StudyDate}110000"


def test_the_report_counts_and_tells_no_value(image, rules, whose):
    dataset = image(InstitutionName="ZQVORTEX", PatientComments="ZQVORTEX")
    dataset.private_block(0x0029, "ZQVORTEX", create=True).add_new(1, "LO", "ZQVORTEX")
    tally = Counter()
    rules().header(dataset, whose, tally)
    assert tally["(0010,4000)", "PatientComments", REMOVE] == 1
    assert tally["(0029,xxxx)", "private", REMOVE] == 2
    assert "ZQVORTEX" not in repr(tally)
    assert KEEP not in {action for *_, action in tally}
