"""Volumes that look as if they were halves, or had lost slices, say so."""

import pytest

from medtrans.scans import read_series

CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}


def warnings_of(folder):
    return [volume.metadata["warnings"] for volume in read_series(folder)]


@pytest.mark.parametrize(("step", "thickness"), [(2, None), (2, "4"), (3, None)])
def test_numbers_that_skip_tell_of_slices_lost_between_the_others(make_series, step, thickness):
    series = make_series(shape=(16, 5, 6))
    for k in range(0, 16, step):
        series.write(k, SliceThickness=thickness)
    [warnings] = warnings_of(series.folder)
    assert f"InstanceNumber counts in steps of {step}: are slices between them missing?" in warnings


def test_numbers_shared_with_other_volumes_of_the_series_skip_nothing(make_series):
    for echo in (1, 2):
        series = make_series(shape=(8, 5, 6), seed=echo)
        for k in range(8):
            series.write(k, f"{echo}-{k}", EchoTime=5.0 * echo, EchoNumbers=echo, InstanceNumber=2 * k + echo)
    assert warnings_of(series.folder) == [[], []]


@pytest.mark.parametrize("number", [lambda k: 7, lambda k: 20 - k, lambda k: None, lambda k: (3 * k) % 8 + 1])
def test_other_numberings_tell_nothing(make_series, number):
    series = make_series(shape=(8, 5, 6))
    for k in range(8):
        series.write(k, InstanceNumber=number(k))
    assert warnings_of(series.folder) == [[]]


def phases(make_series, lost=(), count=10):
    """A 4D CT whose phases only SeriesDescription tells; ``lost`` (phase, slice) are not there."""
    for t in range(count):
        series = make_series(shape=(6, 5, 6), seed=t, **CT)
        for k in range(6):
            if (t, k) not in lost:
                series.write(k, f"{t}-{k}", SeriesDescription=f"Gated, {10 * t} %", InstanceNumber=6 * t + k + 1)
    return series


def test_a_phase_without_its_last_slice_is_told_from_the_others(make_series):
    told = warnings_of(phases(make_series, lost=[(4, 5)]).folder)
    assert told == [[], [], [], [], ["has 5 slices, others of its series 6: are some missing?"], [], [], [], [], []]


def test_volumes_of_several_lengths_are_nothing_to_tell(make_series):
    assert warnings_of(phases(make_series, lost=[(0, 5), (1, 5)], count=4).folder) == [[]] * 4
