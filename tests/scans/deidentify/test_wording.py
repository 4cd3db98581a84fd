import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans.scans.deidentify.wording import KnownIdentifiers, cleaned, known_word

SURNAMES = ["Doe", "Müller", "García", "Nguyen", "O'Brien", "van der Berg", "Świątek", "Smith-Jones", "李", "Yılmaz"]
PHRASES = {
    "t1_mprage_sag_p2_iso": "t1 mprage sag p2 iso",
    "T2w TSE tra 3mm": "T2w TSE tra 3mm",
    "PET AC 25 %": "PET AC 25 %",
    "Head 1-4 dose": "Head 1 4 dose",
    "AX T2* GRE 1.5mm B30f": "AX T2* GRE 1.5mm B30f",
    "ep2d_diff_b1000_ADC": "ep2d diff b1000 ADC",
}


@pytest.mark.parametrize(("text", "left"), PHRASES.items())
def test_words_and_measures_of_imaging_stay(text, left):
    assert cleaned(text) == left


@given(
    st.sampled_from(SURNAMES),
    st.sampled_from([*PHRASES]),
    st.sampled_from([" ", "_", "^", " Dr. ", "/"]),
    st.booleans(),
)
def test_names_go(name, phrase, between, first):
    text = f"{name}{between}{phrase}" if first else f"{phrase}{between}{name}"
    left = cleaned(text)
    for part in re.findall(r"\w{3,}", name):
        assert part.casefold() not in left.casefold()


@given(st.dates(), st.sampled_from(["%Y%m%d", "%d.%m.%Y", "%d/%m/%y", "%Y-%m-%d", "%d %m %Y", "%d %m %y"]))
def test_no_part_of_a_date_stays(day, form):
    assert not re.search(r"\d", cleaned(f"brain {day.strftime(form)} follow up"))


@given(st.integers(1000, 10**9))
def test_numbers_of_records_go(number):
    assert not re.search(r"\d", cleaned(f"head {number} AC"))


def test_what_recipes_and_bids_look_for_in_descriptions_is_known():
    """Series of de-identified conversions are still found by the recipes that this package ships."""
    recipes = Path(__file__).parents[3].glob("data_prep/*.json")
    found = [re.findall(r"[a-z][a-z0-9]+", text) for path in recipes for text in _patterns(path)]
    words = {word for group in found for word in group} - {"non", "uncorrected"} | {"non", "uncorrected"}
    assert len(words) > 8
    assert [word for word in sorted(words) if not known_word(word)] == []


def _patterns(path):
    text = path.read_text()
    return [
        re.sub(r"\(\?[a-z!<=:]*|\[[^\]]*\]|\\.", " ", found) for found in re.findall(r'"description": "([^"]*)"', text)
    ]


def test_identifiers_are_found_whichever_way_they_are_written():
    known = KnownIdentifiers(["Doe^Jane Ann"], ["4711-0815"], ["19310417"])
    assert known.without("DOE, jane: skull") == "skull"
    assert known.without("pat. 4711-0815 head") == "pat. head"
    for written in ("19310417", "17.04.1931", "1931-04-17", "04/17/1931"):
        assert known.without(f"born {written}") == "born"
    assert known.without("doeskin janet") == "doeskin janet"


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("Li^Ming=李^明", "李明 頭部 t1", "頭部 t1"),
        ("Yamada^Tarou=山田^太郎", "頭部 山田太郎様", "頭部 様"),
        ("Kim=김^수진", "brain 김수진", "brain"),
        ("Lê^Văn", "LÊ brain, Lêonie", "brain, Lêonie"),
    ],
)
def test_short_names_of_other_scripts_are_found_where_words_have_no_bounds(name, text, left):
    assert KnownIdentifiers([name]).without(text) == left


def test_a_short_place_of_other_scripts_is_found():
    assert KnownIdentifiers(ids=["東大"]).without("東大病院 t1") == "病院 t1"


def test_a_patient_called_head_does_not_empty_every_description():
    assert KnownIdentifiers(["HEAD^PHANTOM"]).without("head phantom") == "head phantom"
