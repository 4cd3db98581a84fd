"""A case that lies unlike the cohort as a whole is told, left and right only where the cohort is asymmetric."""

import numpy as np


def test_a_case_turned_as_a_whole_is_told_from_the_cohort(planted, said):
    for part in ("T1", "T2", "mask", "label"):
        planted.write(2, part, np.flip(planted.read(2, part), 1))
        planted.write(5, part, np.flip(planted.read(5, part), 2))
    found = planted.found("alignment", "orientation")
    assert {(case, what) for case, _, what in said(found)} == {(2, "flipped front-back"), (5, "flipped upside down")}


def test_left_right_of_a_whole_case_is_told_only_where_the_cohort_is_asymmetric(planted, said):
    assert {f.what for f in planted.found("orientation")} == {"left-right not decidable"}
    for case in range(9):  # every head gets a bright right ear, as bodies have a liver on the right
        values = planted.read(case, "T1")
        values[24:28, 16:22, 12:18] = values.max()
        planted.write(case, "T1", values if case != 4 else np.flip(values, 0))
    planted.write(4, "mask", np.flip(planted.read(4, "mask"), 0))
    assert (4, "T1", "flipped left-right") in said(planted.found("orientation"))
