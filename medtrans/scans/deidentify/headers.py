"""A header without its patient: every element of a data set and of all its sequences, by the profile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID_dictionary

from medtrans.errors import InputError
from medtrans.scans.deidentify.dates import shifted
from medtrans.scans.deidentify.key import Key, Whose, needed_key, refuse_inside
from medtrans.scans.deidentify.private import safe_elements
from medtrans.scans.deidentify.profile import (
    CLEAN,
    DUMMY,
    EDITION,
    EMPTY,
    KEEP,
    NAME,
    REMOVE,
    SHIFT,
    TIME,
    UID,
    WALK,
    Choices,
    actions_of,
    shifts,
)
from medtrans.scans.deidentify.wording import KnownIdentifiers, cleaned

Tally = Counter[tuple[str, str, str]]  # tag, keyword, action
SWEPT = "identifier taken out of its text"
DUMMIES: dict[str, Any] = {
    "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "UR": "http://removed.invalid",
    "OB": b"\0\0", "UN": b"\0\0", "OW": b"\0\0", "DS": "0", "IS": "0", "FD": 0.0, "FL": 0.0, "SS": 0, "US": 0,
    "SL": 0, "UL": 0,
}  # fmt: skip
REMOVED_TEXT = "REMOVED"
TEXT = {"LO", "SH", "LT", "ST", "UT", "UC"}
WORDS_OF_CODE = {"CS", "AE"}
NUMERALS = {"DS": re.compile(r"[\d+\-.eE ]*"), "IS": re.compile(r"[\d+\- ]*"), "AS": re.compile(r"\d{3}[DWMY]")}
OFFSET = re.compile(r"[+-]\d{4}")
OF_KINDS = re.compile(r"SOPClass|TransferSyntax|CodingScheme|Context|MappingResource")
OF_CODES = re.compile(r"CodingScheme|Context|MappingResource")
# DICOM's own, the code systems that HL7 registered (SNOMED CT, LOINC, UCUM, RadLex, …), and the NCI thesaurus
PUBLIC_CODES = ("1.2.840.10008.", "2.16.840.1.113883.5.", "2.16.840.1.113883.6.", "2.16.840.1.113883.3.26.1.1")
PLAIN_UID = re.compile(r"[0-9.]{1,64}")
BULK = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
BULK_GROUPS = {0x0028, 0x5400, 0x0064, 0x0066, 0x7FE0}  # look-up tables, waveforms, grids, surfaces, pixels
PIXELS, CHARACTERS = 0x7FE0, 0x00080005
PEOPLE = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ReferringPhysicianName",
    "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "RequestingPhysician", "ConsultingPhysicianName", "ScheduledPerformingPhysicianName", "ResponsiblePerson",
)  # fmt: skip
NUMBERS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "PatientAddress", "PatientTelephoneNumbers", "AdmissionID",
    "MedicalRecordLocator", "InsurancePlanIdentification", "MilitaryRank",
)  # fmt: skip
INSTITUTION = ("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName")
OLDEST = 90  # years from which on nobody is told older


class Deidentifier:
    """Applies the profile with the options chosen, by one key.

    Args:
        key: where new UIDs, pseudonyms and shifts come from.
        choices: options of the profile.
    """

    def __init__(self, key: Key, choices: Choices | None = None) -> None:
        self.key, self.choices = key, choices or Choices()

    def header(self, dataset: Dataset, whose: Whose, tally: Tally | None = None) -> Dataset:
        """``dataset``, de-identified in place and marked so.

        Args:
            dataset: with or without pixels, which stay as they are; its file meta is left to
                :mod:`~medtrans.scans.deidentify.instances`.
            whose: the patient's and study's pseudonyms.
            tally: counts what was done, attribute by attribute, without values.
        """
        tally = Counter() if tally is None else tally
        known = known_identifiers(dataset, "institution" in self.choices.retain)
        _Walk(self, whose, known, tally).level(dataset)
        dataset.PatientName, dataset.PatientID = whose.name, whose.name
        if "patient" in self.choices.retain:
            _cap_age(dataset)
        self._mark(dataset)
        return dataset

    def _mark(self, dataset: Dataset) -> None:
        """Say what was done, in words and codes (PS3.3 C.7.1.1, PS3.16 CID 7050)."""
        from medtrans import __version__

        dataset.PatientIdentityRemoved = "YES"
        before = _texts(dataset, "DeidentificationMethod")
        own = f"medtrans {__version__}, PS3.15 E {EDITION}"
        dataset.DeidentificationMethod = [*(text for text in before if text != own), own]
        items = {str(item.get("CodeValue")): item for item in dataset.get("DeidentificationMethodCodeSequence") or ()}
        for value, meaning in self.choices.codes:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
            items[value] = item
        dataset.DeidentificationMethodCodeSequence = list(items.values())
        modified = "MODIFIED" if self.choices.dates == "shift" else "REMOVED"
        dataset.LongitudinalTemporalInformationModified = modified

    def days(self, whose: Whose) -> int | None:
        """By how many days the dates of a patient are moved; None where they are removed."""
        return self.key.days(whose.patient) if self.choices.dates == "shift" else None


def chosen_rules(wanted: bool, key: Path | None, retain: str, output: Path) -> Deidentifier | None:
    """What ``--deidentify``, ``--key`` and ``--retain`` ask for; None where nothing is asked for.

    Raises:
        InputError: one is given without another, is not understood, or the key would lie in ``output``.
    """
    path = needed_key(wanted, key)
    if path is None and retain:
        raise InputError("--retain", "is of use with --deidentify only", "Add --deidentify")
    if path is None:
        return None
    refuse_inside(path, output)
    return Deidentifier(Key(path), Choices.of(retain, "shift"))


def known_identifiers(dataset: Dataset, institution: bool = False) -> KnownIdentifiers:
    """What the header says of its patient, to be looked for in what is retained."""
    names = [text for keyword in PEOPLE for text in _texts(dataset, keyword)]
    ids = [text for keyword in NUMBERS for text in _texts(dataset, keyword)]
    if not institution:
        maker = " ".join(_texts(dataset, "Manufacturer")).casefold()  # who has its own institution, with its own name
        places = [text for keyword in INSTITUTION for text in _texts(dataset, keyword)]
        ids += [text for text in places if text.casefold() not in maker]
    for item in dataset.get("OtherPatientIDsSequence") or ():
        ids += _texts(item, "PatientID")
    return KnownIdentifiers(names, ids, _texts(dataset, "PatientBirthDate"))


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, NotImplementedError):  # a damaged value
        return []
    values = value if isinstance(value, (MultiValue, list)) else [value]
    return [str(one).strip() for one in values if one not in (None, "")]


class _Walk:
    """One data set being de-identified, level by level."""

    def __init__(self, rules: Deidentifier, whose: Whose, known: KnownIdentifiers, tally: Tally) -> None:
        self.key, self.retain = rules.key, rules.choices.retain
        self.actions, self.days = actions_of(rules.choices), rules.days(whose)
        self.whose, self.known, self.tally = whose, known, tally

    def level(self, dataset: Dataset) -> None:
        """Every element of a data set; its sequences by way of themselves."""
        private = safe_elements(dataset, self.days) if "private" in self.retain else set()
        for tag in sorted(dataset.keys()):
            action = self._private(tag, private) if tag.is_private else self._standard(dataset, tag)
            if action == REMOVE:
                del dataset[tag]
            if action and not (tag.element == 0 and action == REMOVE):  # lengths of groups are nothing to tell
                self.tally[_shown(tag, action)] += 1
        _tidy_codes(dataset)

    def _private(self, tag: BaseTag, safe: set[BaseTag]) -> str:
        return KEEP if tag in safe else REMOVE

    def _standard(self, dataset: Dataset, tag: BaseTag) -> str:
        """Do what is to be done with one element; what it was, empty where nothing was."""
        if tag.element == 0 or tag.group < 0x0008 or tag.group & 0xFF00 in (0x5000, 0x6000):
            return REMOVE
        if not dictionary_has_tag(tag):
            return REMOVE
        try:
            element = dataset[tag]
            return self._element(dataset, element)
        except (ValueError, TypeError, NotImplementedError, AttributeError, UnicodeError):  # it cannot be understood
            return REMOVE

    def _element(self, dataset: Dataset, element: DataElement) -> str:
        action = self.actions.get(int(element.tag), "")
        if action == NAME:
            element.value = self.whose.name
            return NAME
        if self.days is not None and action not in (KEEP, CLEAN) and shifts(int(element.tag), element.VR):
            return self._shift(element, action, self.days)
        if action == CLEAN:
            return self._clean(element)
        if action in (REMOVE, ""):
            return action or self._unlisted(dataset, element)
        if element.VR == "SQ":
            return self._sequence(element, action)
        if action == UID:
            return self._uids(element)
        if action == KEEP:
            return self._retained(element) if _has_value(element) else ""
        if not _has_value(element):
            return ""
        element.value = _dummy(element.VR) if action == DUMMY else _empty(element.VR)
        return action

    def _retained(self, element: DataElement) -> str:
        """What an option keeps stays, where it is what its type or name says."""
        form = OFFSET if element.keyword == "TimezoneOffsetFromUTC" else NUMERALS.get(element.VR)
        if form is not None and not all(form.fullmatch(text) for text in _each(element)):
            return REMOVE
        return self._sweep(element) or KEEP

    def _unlisted(self, dataset: Dataset, element: DataElement) -> str:
        """What table E.1-1 does not list stays, as far as its type can hold what it should not."""
        kind = element.VR
        if kind == "SQ":
            return self._sequence(element, WALK)
        if kind == "UI":
            return self._uids(element)
        if kind in ("PN", "AE", "UR"):
            if not _has_value(element):
                return ""
            element.value = ""
            return EMPTY
        if kind in ("DA", "DT", "TM"):
            if not _has_value(element):
                return ""
            element.value = _dummy(kind)
            return DUMMY
        if kind in BULK:
            kinds = dictionary_VR(element.tag).split(" or ")
            return "" if element.tag.group in BULK_GROUPS and kind in kinds else REMOVE
        if kind in NUMERALS and not all(NUMERALS[kind].fullmatch(text) for text in _each(element)):
            element.value = ""
            return EMPTY
        return self._sweep(element)

    def _sequence(self, element: DataElement, action: str) -> str:
        items = element.value or []
        if action == EMPTY and len(items):
            element.value = Sequence([])
            return EMPTY
        for item in items:
            _fill_with_dummies(item, self.key) if action == DUMMY else self.level(item)
        return action if action in (DUMMY, KEEP) and len(items) else ""

    def _uids(self, element: DataElement) -> str:
        """New UIDs for those that name something of the patient's, not for those that name a kind of thing."""
        values = _each(element)
        if not any(values):
            return ""
        keyword = dictionary_keyword(element.tag)
        new = [_uid(text, keyword, self.key, "institution" in self.retain) for text in values]
        if new == values:
            return ""
        element.value = new if len(new) > 1 else new[0]
        return UID

    def _shift(self, element: DataElement, action: str, days: int) -> str:
        if not _has_value(element):
            return ""
        new = [shifted(text, element.VR, days) for text in _each(element)]
        if not all(new):  # not what its type is
            element.value = _dummy(element.VR) if action == DUMMY else ""
            return action if action in (DUMMY, EMPTY) else EMPTY
        element.value = new if len(new) > 1 else new[0]
        return TIME if element.VR == "TM" else SHIFT

    def _clean(self, element: DataElement) -> str:
        if not _has_value(element):
            return ""
        left = " ".join(filter(None, (cleaned(self.known.without(text)) for text in _each(element))))
        if not left:
            return self._basic(element)
        element.value = left[:64]
        return CLEAN

    def _basic(self, element: DataElement) -> str:
        """What the profile does without the option to clean."""
        action = actions_of(Choices()).get(int(element.tag), REMOVE)
        if action == DUMMY:
            element.value = _dummy(element.VR)
        elif action == EMPTY:
            element.value = _empty(element.VR)
        return action

    def _sweep(self, element: DataElement) -> str:
        """Take out of a retained text what is known to identify the patient."""
        if element.VR in WORDS_OF_CODE:
            values = _each(element)
            left = ["" if self.known.is_one(text) else self.known.without(text) for text in values]
        elif element.VR in TEXT:
            values = _each(element)
            left = [self.known.without(text) for text in values]
        else:
            return ""
        if left == values:
            return ""
        element.value = left if len(left) > 1 else left[0]
        return SWEPT


def _uid(text: str, keyword: str, key: Key, institution: bool = False) -> str:
    if text in UID_dictionary:  # the standard's own
        return text
    kind = keyword.removeprefix("Referenced")
    own = OF_CODES.match(kind) and not institution and not text.startswith(PUBLIC_CODES)  # tells whose codes they are
    if PLAIN_UID.fullmatch(text) and OF_KINDS.match(kind) and not own:
        return text
    return key.uid(text) if text else ""


def _tidy_codes(item: Dataset) -> None:
    """The meaning of a code that a hospital made up is free text."""
    scheme = str(item.get("CodingSchemeDesignator") or "")
    if scheme.upper().startswith(("99", "L")) and scheme.upper() != "LN" and item.get("CodeMeaning"):
        item.CodeMeaning = cleaned(str(item.CodeMeaning)) or REMOVED_TEXT


def _fill_with_dummies(item: Dataset, key: Key) -> None:
    for tag in list(item.keys()):
        if tag.is_private or not dictionary_has_tag(tag) or tag == CHARACTERS:  # dummies are ASCII
            del item[tag]
            continue
        element = item[tag]
        if element.VR == "SQ":
            for inner in element.value or []:
                _fill_with_dummies(inner, key)
        elif element.VR == "UI":
            new = [_uid(text, dictionary_keyword(tag), key) for text in _each(element)]
            element.value = new if len(new) > 1 else (new or [""])[0]
        elif _has_value(element):
            element.value = _dummy(element.VR)


def _each(element: DataElement) -> list[str]:
    value = element.value
    values: Iterable[Any] = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    return ["" if one is None else str(one) for one in values]


def _has_value(element: DataElement) -> bool:
    return not element.is_empty


def _dummy(kind: str) -> Any:
    return DUMMIES.get(kind, REMOVED_TEXT)


def _empty(kind: str) -> Any:
    return None if kind in ("DS", "IS", "FD", "FL", "SS", "US", "SL", "UL", "SV", "UV", *BULK) else ""


def _cap_age(dataset: Dataset) -> None:
    """Nobody is told older than OLDEST: there are few of them."""
    age = str(dataset.get("PatientAge") or "")
    if re.fullmatch(r"\d{3}Y", age) and int(age[:3]) > OLDEST:
        dataset.PatientAge = f"{OLDEST:03d}Y"


def _shown(tag: BaseTag, action: str) -> tuple[str, str, str]:
    """How the report names an element, free of anything the file says."""
    if tag.is_private:
        return f"({tag.group:04x},xxxx)", "private", action
    if tag.group & 0xFF00 in (0x5000, 0x6000):
        return f"({tag.group >> 8:02x}xx,{tag.element:04x})", "curve" if tag.group < 0x6000 else "overlay", action
    keyword = dictionary_keyword(tag) if dictionary_has_tag(tag) else "unknown"
    return f"({tag.group:04x},{tag.element:04x})", keyword, action


TAGS_OF_UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def plain_tags(rules: Deidentifier, tags: dict[str, Any], whose: Whose) -> dict[str, Any]:
    """De-identified plain values, as :class:`~medtrans.scans.export.headers.ScanFile` has them: UIDs, dates and text.

    What is needed to know whose an image is, and to compute SUV, stays: it is never written.
    """
    known = _known_of(*(str(tags.get(name, "")) for name in ("PatientName", "PatientID", "PatientBirthDate")))
    days = rules.key.days(whose.patient)
    return {name: _plain(rules, name, value, known, days) for name, value in tags.items()}


@lru_cache(64)
def _known_of(name: str, number: str, birth: str) -> KnownIdentifiers:
    return KnownIdentifiers([name], [number], [birth])


NEVER_WRITTEN = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
FREE = ("SeriesDescription", "ProtocolName", "ContrastBolusAgent")


def _plain(rules: Deidentifier, name: str, value: Any, known: KnownIdentifiers, days: int) -> Any:
    if isinstance(value, tuple):
        if any(isinstance(one, dict) for one in value):  # the doses given
            return tuple({own: _plain(rules, own, one, known, days) for own, one in item.items()} for item in value)
        return tuple(_plain(rules, name, one, known, days) if isinstance(one, str) else one for one in value)
    if not isinstance(value, str) or name in NEVER_WRITTEN:
        return value
    if name in TAGS_OF_UIDS:
        return _uid(value, name, rules.key)
    if name in FREE:
        return cleaned(known.without(value))
    kind = _kind(name)
    if kind in ("DA", "DT"):
        return shifted(value, kind, days)
    if kind in WORDS_OF_CODE:
        return "" if known.is_one(value) else known.without(value)
    return known.without(value) if kind in TEXT else value


def _kind(name: str) -> str:
    if name in ("GEScanDateTime", "SiemensDecayDateTime", "FrameReferenceDateTime"):
        return "DT"
    tag = tag_for_keyword(name)
    return dictionary_VR(tag) if tag is not None else ""
