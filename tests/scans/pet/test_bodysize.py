import pytest

from medtrans import InputError
from medtrans.scans.pet.bodysize import normaliser

PERSON = {"PatientWeight": 75.0, "PatientSize": 1.85, "PatientSex": "M"}


@pytest.mark.parametrize(
    ("kind", "grams"),
    [  # cornerstonejs/calculate-suv, tests of version 1.1: 75 kg, 1.85 m, M, per 100 Bq
        ("BW", 750.0),
        ("BSA", 198.13758427117767),
        ("LBMJANMA", 609.1533588651974),
    ],
)
def test_published_worked_example(kind, grams):
    assert normaliser(kind, PERSON)[0] / 100 == pytest.approx(grams, rel=1e-12)


@pytest.mark.parametrize(
    ("size", "weight", "male", "female"),
    [  # manual of the R package oro.pet, leanBodyMass
        (2.00, 80.0, 67.52000, 61.92000),
        (1.80, 96.0, 69.19111, 60.62222),
        (1.60, 112.0, 60.48000, 47.32000),
    ],
)
def test_james_lean_body_mass_as_published(size, weight, male, female):
    for sex, expected in (("M", male), ("F", female)):
        tags = {"PatientWeight": weight, "PatientSize": size, "PatientSex": sex}
        assert normaliser("LBMJAMES128", tags)[0] == pytest.approx(1000 * expected, abs=0.01)


def test_lean_body_mass_of_janmahasatian_grows_with_weight_where_james_falls():
    lean = {kind: [normaliser(kind, PERSON | {"PatientSex": "F", "PatientWeight": w})[0] for w in range(60, 260, 20)]
            for kind in ("LBMJANMA", "LBMJAMES128")}  # fmt: skip
    assert lean["LBMJANMA"] == sorted(lean["LBMJANMA"])
    assert lean["LBMJAMES128"] != sorted(lean["LBMJAMES128"])
    assert all(mass < 1000 * weight for mass, weight in zip(lean["LBMJANMA"], range(60, 260, 20), strict=True))


def test_ideal_weight_is_sugawaras():
    assert normaliser("IBW", PERSON)[0] == pytest.approx(1000 * (48 + 1.06 * 33))
    assert normaliser("IBW", PERSON | {"PatientSex": "F"})[0] == pytest.approx(1000 * (45.5 + 0.91 * 33))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"PatientWeight": None}, "PatientWeight is missing"),
        ({"PatientWeight": 75000.0}, "PatientWeight is implausible"),
        ({"PatientSize": None}, "PatientSize is missing"),
        ({"PatientSize": 0.0}, "PatientSize is implausible"),
        ({"PatientSize": 185.0}, "PatientSize is implausible"),
        ({"PatientSex": None}, "PatientSex is missing"),
        ({"PatientSex": "O"}, "PatientSex is O"),
    ],
)
def test_missing_or_implausible_tags_are_named(change, named):
    tags = {name: value for name, value in (PERSON | change).items() if value is not None}
    with pytest.raises(InputError, match=named):
        normaliser("LBMJANMA", tags)


def test_body_weight_needs_neither_size_nor_sex_and_surface_no_sex():
    assert normaliser("BW", {"PatientWeight": 75.0})[1] == ("PatientWeight",)
    assert normaliser("BSA", {"PatientWeight": 75.0, "PatientSize": 1.85})[1] == ("PatientWeight", "PatientSize")
