"""Tables of measured motion: what is read, and one line for what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from medtrans.errors import InputError
from medtrans.simulate.mr.trajectories import poses_at
from medtrans.simulate.mr.trajectory_table import over_scan, read_table

GOOD = "time,rx,ry,rz,tx,ty,tz\n0,0,0,0,0,0,0\n10,1,2,3,4,5,6\n20,1,2,3,4,5,6\n"


def written(folder, text):
    path = folder / "moves.csv"
    path.write_bytes(text.encode())
    return path


def test_the_head_moves_straight_between_rows(tmp_path):
    table = over_scan(read_table(written(tmp_path, GOOD)), 20)
    last = [1, 2, 3, 4, 5, 6]
    assert poses_at(table, np.array([0, 5, 10, 15])).tolist() == [[0] * 6, [0.5, 1, 1.5, 2, 2.5, 3], last, last]


def test_columns_may_stand_in_any_order_with_capitals_and_a_byte_order_mark(tmp_path):
    text = "\ufeffTX, Time, ty,tz,rx,ry, RZ ,remark\n4,0,5,6,1,2,3,rest\n4,9,5,6,1,2,3,rest\n"
    table = read_table(written(tmp_path, text))
    assert table["seconds"] == [0, 9]
    assert table["poses"][0] == [1, 2, 3, 4, 5, 6]


def test_fractions_are_those_of_the_scan(tmp_path):
    text = GOOD.replace("time", "fraction").replace("\n10", "\n0.5").replace("\n20", "\n1")
    table = over_scan(read_table(written(tmp_path, text)), 300)
    assert table["seconds"] == [0, 150, 300]


def test_an_array_is_time_and_six_parameters():
    array = np.arange(14.0).reshape(2, 7)
    assert read_table(array)["seconds"] == [0, 7]
    assert read_table(array)["poses"][1] == [8, 9, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column time, rx"),
        (GOOD.replace("rz", "yaw"), "no column rz"),
        (GOOD.replace("4,5,6\n20", "four,5,6\n20"), "no number"),
        (GOOD.replace("4,5,6\n20", "nan,5,6\n20"), "no finite"),
        (GOOD.replace("4,5,6\n20", "4,5\n20"), "no number"),
        (GOOD.replace("\n20", "\n10"), "does not rise"),
        (GOOD[:36], "2 rows or more"),
        ("\x00\xff", "no column"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_file(tmp_path, text, problem):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=problem) as error:
        read_table(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read"):
        read_table(tmp_path / "gone.csv")


def test_a_table_has_to_cover_the_scan():
    table = read_table(np.array([[0, *[0] * 6], [30, *[1] * 6]]))
    over_scan(table, 30)
    with pytest.raises(InputError, match="covers 0 to 30 s of a scan of 31 s"):
        over_scan(table, 31)
