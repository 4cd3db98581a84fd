from datetime import datetime

import pytest

from medtrans.scans.pet.moments import taken, time_of_day


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("000000", 0), ("235959.5", 86399.5), ("1010", 36600), ("101010.000001", 36610.000001)],
)
def test_time_of_day_in_seconds(text, seconds):
    assert time_of_day(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize("text", [None, "", "10", "2500", "noon", "10:10:10"])
def test_what_is_no_time_of_day_is_none(text):
    assert time_of_day(text) is None


def test_an_image_without_a_day_was_taken_at_its_time():
    one, other = taken({"AcquisitionTime": "100000"}), taken({"AcquisitionTime": "100130.5"})
    assert (other - one).total_seconds() == 90.5
    assert taken({"AcquisitionTime": "1000", "SeriesDate": "20200102"}) == datetime(2020, 1, 2, 10)
    assert taken({"AcquisitionDateTime": "20200102100000.25"}) == datetime(2020, 1, 2, 10, 0, 0, 250000)
    assert taken({"AcquisitionDate": "20200102"}) is None
