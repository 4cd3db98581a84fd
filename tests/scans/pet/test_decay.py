import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans.export.frames import Frame
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.pet.decay import decay_from_injection

F18, ZR89 = 6586.2, 282240.0
DRUG = {"RadiopharmaceuticalStartTime": "100000.00"}


def frames(*changes, **tags):
    """Images of a PET series scanned from 11:00 on, one a dictionary of changes."""
    base = {"SeriesDate": "20200102", "SeriesTime": "110000", "AcquisitionDate": "20200102",
            "AcquisitionTime": "110000"} | tags  # fmt: skip
    return [
        Frame.of_tags(ScanFile(Path()), 0, {k: v for k, v in (base | change).items() if v is not None})
        for change in changes or [{}]
    ]


def decayed(images, drug=DRUG, half_life=F18):
    return decay_from_injection(images, drug, half_life)


def decay_factor(seconds_after_reference, duration, half_life=F18):
    """What an image is scaled by: the inverse of the mean activity in its frame, numerically."""
    rate, steps = math.log(2) / half_life, 20000
    times = [seconds_after_reference + duration * (n + 0.5) / steps for n in range(steps)]
    return 1 / (sum(math.exp(-rate * time) for time in times) / steps)


def beds(reference, starts, duration=180.0, **tags):
    """Bed positions at ``starts`` (HHMMSS), all corrected to ``reference``, with the DecayFactor that says so."""
    ref = datetime.strptime("20200102" + reference, "%Y%m%d%H%M%S")
    changes = []
    for start in starts:
        after = (datetime.strptime("20200102" + start, "%Y%m%d%H%M%S") - ref).total_seconds()
        factor = round(decay_factor(after, duration), 5)
        changes.append({"AcquisitionTime": start, "DecayFactor": factor, "ActualFrameDuration": 1000 * duration})
    return frames(*changes, **tags)


def test_series_time_is_the_reference_when_it_is_not_after_the_scan():
    decay = decayed(beds("110000", ["110000", "110300", "110600"]))
    assert (decay.seconds, decay.warnings) == (3600, ())
    assert decay.tags == ("SeriesTime", "RadiopharmaceuticalStartTime")


def test_post_processed_series_leads_back_to_the_moment_its_decay_factors_name():
    decay = decayed(beds("105000", ["110000", "110300"], SeriesTime="150000"))
    assert decay.seconds == pytest.approx(3000, abs=1)
    assert "DecayFactor" in decay.tags
    assert "SeriesTime is missing or after" in decay.warnings[0]


@pytest.mark.parametrize("maker", ["SIEMENS", "GE MEDICAL SYSTEMS"])
def test_frame_reference_time_leads_back_where_there_is_no_decay_factor(maker):
    rate, duration = math.log(2) / F18, 600.0
    middle = math.log(rate * duration / (1 - math.exp(-rate * duration))) / rate if maker == "SIEMENS" else 0.0
    changes = [
        {"AcquisitionTime": f"11{minutes:02d}00", "FrameReferenceTime": 1000 * (60 * minutes + 1200 + middle)}
        for minutes in (0, 10, 20)
    ]
    images = frames(*changes, SeriesTime="150000", ActualFrameDuration=1000 * duration, Manufacturer=maker)
    decay = decayed(images)
    assert decay.seconds == pytest.approx(2400, abs=0.01)  # 20 min before the first frame
    assert "FrameReferenceTime" in decay.tags


def test_frame_reference_time_of_nothing_is_not_believed():
    images = frames({"FrameReferenceTime": 0.0, "ActualFrameDuration": 180000.0}, SeriesTime="150000")
    assert decayed(images).seconds == 3600


def test_series_time_without_its_fraction_of_a_second_is_not_after_the_scan():
    decay = decayed(frames(SeriesTime="110000", AcquisitionTime="105959.400"))
    assert (decay.seconds, decay.warnings) == (3600, ())


def test_scan_over_midnight_without_acquisition_dates():
    changes = [{"AcquisitionTime": start} for start in ("235800", "000100", "000400")]
    images = frames(*changes, SeriesTime="235800", AcquisitionDate=None)
    assert decayed(images, {"RadiopharmaceuticalStartTime": "225800"}).seconds == 3600


def test_post_processed_series_without_more_counts_from_the_earliest_acquisition():
    decay = decayed(frames({"AcquisitionTime": "110600"}, {"AcquisitionTime": "110300"}, SeriesTime="150000"))
    assert decay.seconds == 3780
    assert decay.warnings


def test_real_decay_factor_of_a_ge_scanner_leads_back_to_its_start():
    # public GE test image of fo-dicom: 240 s, half-life 6588 s, corrected to the start of its only frame
    images = frames({"DecayFactor": 1.01268, "ActualFrameDuration": 240000.0}, SeriesTime="120000")
    assert decayed(images, half_life=6588.0).seconds == 3600


def test_decay_factors_against_the_series_time_are_warned_of():
    decay = decayed(beds("110000", ["110000", "110300"], SeriesTime="103000"))
    assert decay.seconds == 1800
    assert "SeriesTime and DecayFactor put the reference of decay 1800 s apart" in decay.warnings[0]


@pytest.mark.parametrize("keyword", ["SiemensDecayDateTime", "GEScanDateTime"])
def test_private_reference_is_believed_before_a_changed_series_time(keyword):
    decay = decayed(frames({keyword: "20200102105500.00"}, SeriesTime="150000"))
    assert (decay.seconds, decay.warnings) == (3300, ())
    assert decay.tags[0].startswith("(00")


def test_private_reference_on_another_day_than_the_shifted_dates_counts_by_its_clock():
    decay = decayed(frames({"SiemensDecayDateTime": "20191224110000"}))
    assert (decay.seconds, decay.warnings) == (3600, ())


def test_private_reference_that_decay_factors_speak_against_gives_way_to_the_series_time():
    images = beds("110000", ["110000", "110300"], SiemensDecayDateTime="20200102101500")
    decay = decayed(images)
    assert decay.seconds == 3600
    assert "(0071,1022)" in decay.warnings[0]


def test_private_reference_after_the_scan_is_refused():
    with pytest.raises(InputError, match=r"\(0009,100D\).*later than the acquisition"):
        decayed(frames({"GEScanDateTime": "20200102130000"}))


def test_full_date_of_injection_counts_for_long_lived_nuclides():
    drug = {"RadiopharmaceuticalStartDateTime": "20191230110000.00"}
    assert decayed(frames(), drug, ZR89).seconds == 3 * 86400


def test_long_lived_nuclide_without_the_day_of_injection_is_refused():
    with pytest.raises(InputError, match="RadiopharmaceuticalStartDateTime is missing"):
        decayed(frames(), DRUG, ZR89)


@pytest.mark.parametrize(("reference", "injection", "seconds"), [
    ("003000", "233000", 3600),  # over midnight
    ("000500", "000500", 0),
    ("110000", "110030", -30),  # dynamic: the scan was running when the dose was given
    ("000010", "000100", -50),
])  # fmt: skip
def test_time_of_day_alone(reference, injection, seconds):
    images = frames(SeriesTime=reference, AcquisitionTime=reference)
    assert decayed(images, {"RadiopharmaceuticalStartTime": injection}).seconds == seconds


def test_dynamic_series_is_corrected_to_its_start_whatever_the_frame():
    starts = ["110000", "111000", "115000"]
    assert decayed(beds("110000", starts)).seconds == decayed(beds("110000", starts[2:])).seconds == 3600


@pytest.mark.parametrize("injection", ["20200101110000", "20200103100000", "20200102220000"])
def test_injection_on_an_impossible_day_or_hour_is_refused_with_its_tag(injection):
    with pytest.raises(InputError, match=r"RadiopharmaceuticalStartDateTime.*cannot be"):
        decayed(frames(), {"RadiopharmaceuticalStartDateTime": injection})


def test_time_zones_are_brought_together():
    drug = {"RadiopharmaceuticalStartDateTime": "20200102090000+0000"}
    assert decayed(frames(TimezoneOffsetFromUTC="+0100"), drug).seconds == 3600
    assert decayed(frames(TimezoneOffsetFromUTC="-0130"), drug).seconds == 3.5 * 3600
    assert decayed(frames(), drug | {"RadiopharmaceuticalStartTime": "090000"}).seconds == 7200
    with pytest.raises(InputError, match="TimezoneOffsetFromUTC"):
        decayed(frames(), drug)


def test_acquisition_in_a_time_zone_unlike_the_scanners_clock_gives_way_to_its_time():
    images = frames({"AcquisitionDateTime": "20200102090000+0000"})
    assert (decayed(images).seconds, decayed(images).warnings) == (3600, ())


def test_enhanced_pet_names_its_reference_itself():
    images = frames(DecayCorrectionDateTime="20200102104500", SeriesTime="160000")
    decay = decayed(images, {"RadiopharmaceuticalStartDateTime": "20200102100000"})
    assert (decay.seconds, decay.tags[0]) == (2700, "DecayCorrectionDateTime")


@given(
    injection=st.datetimes(datetime(2020, 1, 1), datetime(2020, 12, 31)),
    uptake=st.integers(0, 4 * 3600),
    later=st.integers(0, 3600),
)
def test_any_hour_of_the_day_gives_the_uptake_time(injection, uptake, later):
    reference = injection.replace(microsecond=0) + timedelta(seconds=uptake)
    scan = reference + timedelta(seconds=later)
    images = frames(SeriesDate=f"{reference:%Y%m%d}", SeriesTime=f"{reference:%H%M%S}",
                    AcquisitionDate=f"{scan:%Y%m%d}", AcquisitionTime=f"{scan:%H%M%S.%f}")  # fmt: skip
    by_clock = decayed(images, {"RadiopharmaceuticalStartTime": f"{injection:%H%M%S}"})
    by_date = decayed(images, {"RadiopharmaceuticalStartDateTime": f"{injection:%Y%m%d%H%M%S}"})
    assert by_clock.seconds == by_date.seconds == uptake
