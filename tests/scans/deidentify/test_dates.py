from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans.scans.deidentify.dates import shifted

DATES = st.dates(date(1900, 1, 1), date(2100, 1, 1))
DAYS = st.integers(-4000, 4000)


@given(DATES, DATES, DAYS)
def test_intervals_between_dates_stay(first, second, days):
    moved = [datetime.strptime(shifted(f"{day:%Y%m%d}", "DA", days), "%Y%m%d").date() for day in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert moved[0] == first + timedelta(days)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), DAYS, st.sampled_from(["", "+0530", "-1100"]))
def test_a_date_and_time_keeps_its_time_and_offset(moment, days, offset):
    text = f"{moment:%Y%m%d%H%M%S.%f}{offset}"
    moved = shifted(text, "DT", days)
    assert moved[8:] == text[8:]
    assert datetime.strptime(moved[:21], "%Y%m%d%H%M%S.%f") - moment == timedelta(days)


@pytest.mark.parametrize(("text", "expected"), [("2020", "2019"), ("202003", "202002"), ("2020+0100", "2019+0100")])
def test_a_date_that_says_less_is_moved_and_says_no_more(text, expected):
    assert shifted(text, "DT", -10) == expected


@pytest.mark.parametrize("text", ["Doe", "20201301", "2020-1-1", "19999999", "20200101Doe", ""])
def test_what_is_no_date_is_not_handed_on(text):
    assert shifted(text, "DA", 5) == ""


def test_the_old_form_of_dates_is_read():
    assert shifted("2020.02.28", "DA", 2) == "20200301"


@pytest.mark.parametrize(("text", "kept"), [("101112.5", True), ("10:11:12", True), ("Doe", False), ("12 Doe", False)])
def test_times_stay_and_anything_else_does_not(text, kept):
    assert shifted(text, "TM", 5) == (text if kept else "")
