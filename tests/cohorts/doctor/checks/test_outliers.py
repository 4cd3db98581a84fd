"""Intensity, size, place and shape unlike the cohort's are told."""


def test_intensity_size_place_and_shape_unlike_the_cohorts_are_told(planted, said):
    planted.write(1, "T1", planted.read(1, "T1") * 8)
    mask = planted.read(3, "mask")
    mask[:, :, :20] = 0
    planted.write(3, "mask", mask)
    for part in ("T1", "T2", "mask", "label"):
        planted.write(5, part, planted.read(5, part)[:, :-2])
    found = planted.found("outliers")
    told = {(f.case, f.modality, f.other) for f in found}
    assert ("head-0001", "T1", "median inside the body") in told
    assert ("head-0003", "", "volume of the body mask") in told
    assert any(f.what == "uncommon shape" and f.case == "head-0005" for f in found)
    assert {f.case for f in found} <= {"head-0001", "head-0003", "head-0005"}
    assert all(f.severity == "warning" for f in found)
