import numpy as np
import pytest

from medtrans import InputError
from medtrans.scans import convert_export, read_series

AXES = {"a": (1, 0, 0, 0, 1, 0), "s": (0, 1, 0, 0, 0, -1), "c": (1, 0, 0, 0, 0, -1)}


def write_directions(make_series, counts, step=5.0, **tags):
    """A series with ``counts[name]`` slices in each direction."""
    for name, count in counts.items():
        series = make_series(shape=(count, 4, 4), orientation=AXES[name], step=step, seed=ord(name))
        for k in range(count):
            series.write(k, f"{name}{k}", **tags)
    return series


def test_three_planes_of_a_localizer_are_skipped(make_series, tmp_path):
    for name, orientation in [("a", (1, 0, 0, 0, 1, 0)), ("s", (0, 1, 0, 0, 0, -1)), ("c", (1, 0, 0, 0, 0, -1))]:
        series = make_series(shape=(3, 4, 4), orientation=orientation, step=15)
        for k in range(3):
            series.write(k, f"{name}{k}")
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["skipped"]
    assert list(table.files) == [9]
    assert table.reason[0] == "localizer: 3 directions with 3, 3, 3 slices"


def test_scout_inside_a_series_is_left_out_and_does_not_stretch_it(make_series, tmp_path):
    series = make_series(shape=(12, 4, 4), Modality="CT", RescaleIntercept=-1024, RescaleSlope=1).write_all()
    series.write(0, "scout", ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[0, -90, 70])
    table = convert_export(series.folder, tmp_path / "out").set_index("status")
    assert table.loc["converted", "spacing"] == "1x1x2"
    assert table.loc["converted", "files"] == 12
    assert table.loc["skipped", "reason"] == "scout: 1 slices across a series of 12"


def test_localizer_by_image_type_is_skipped_even_alone(make_series, tmp_path):
    series = make_series(shape=(1, 4, 4), Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]).write_all()
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["skipped"]
    assert "localizer" in table.reason[0]


def test_nothing_but_a_localizer_is_no_volume(make_series):
    series = make_series(shape=(1, 4, 4), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]).write_all()
    with pytest.raises(InputError, match="holds no volume"):
        read_series(series.folder)


@pytest.mark.parametrize(
    "counts", [{"a": 15, "c": 15}, {"a": 12, "s": 12, "c": 12}, {"a": 20, "s": 8}, {"s": 4, "c": 6}]
)
def test_acquisitions_in_several_directions_are_volumes_of_their_own(make_series, tmp_path, counts):
    series = write_directions(make_series, counts, SeriesDescription="T2 two planes")
    table = convert_export(series.folder, tmp_path / "out")
    assert list(table.status) == ["converted"] * len(counts)
    assert sorted(table.slices) == sorted(counts.values())
    assert table.description.nunique() == len(counts)


@pytest.mark.parametrize("name", ["3-Plane Localizer", "LOC", "Survey_MST", "Scout", "3Pl Loc FGRE", "AAHead_Scout"])
@pytest.mark.parametrize("tag", ["SeriesDescription", "ProtocolName"])
def test_localizers_by_name_may_have_more_slices(make_series, tmp_path, name, tag):
    series = write_directions(make_series, {"a": 9, "s": 7, "c": 11}, **{tag: name})
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.files) == ("skipped", 27)
    assert row.reason == "localizer: 3 directions with 7, 9, 11 slices"


def test_a_volume_in_one_direction_is_kept_whatever_its_name(make_series):
    series = make_series(SeriesDescription="T1 location scout").write_all()
    assert len(read_series(series.folder)) == 1


def test_a_described_region_is_no_localizer(make_series, tmp_path):
    series = write_directions(make_series, {"a": 9, "c": 9}, SeriesDescription="local flip, collocated")
    assert list(convert_export(series.folder, tmp_path / "out").status) == ["converted"] * 2


def test_topograms_from_front_and_side_are_skipped(make_series, tmp_path):
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    for name in "sc":
        series = make_series(shape=(1, 4, 4), orientation=AXES[name], **ct)
        series.write(0, name, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.files) == ("skipped", 2)
    assert row.reason == "localizer: 2 directions with 1, 1 slices"


@pytest.mark.parametrize("step", [10, 15, 30])
def test_planes_that_turn_about_an_axis_are_skipped_with_that_reason(make_series, tmp_path, step):
    angles = np.radians(np.arange(0, 180, step))
    for number, angle in enumerate(angles):
        row = (np.cos(angle), np.sin(angle), 0)
        series = make_series(shape=(1, 4, 4), orientation=(*row, 0, 0, -1), seed=number)
        series.write(0, f"{number}", InstanceNumber=number + 1)
    [row] = convert_export(series.folder, tmp_path / "out").itertuples()
    assert (row.status, row.files) == ("skipped", len(angles))
    assert row.reason == f"rotating planes: {len(angles)} directions about one axis with 1 slices each, no common grid"
