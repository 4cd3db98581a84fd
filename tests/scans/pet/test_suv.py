import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from medtrans.scans import Conversion, read_series
from medtrans.scans.pet.suv import stated_dose

HALF_LIFE, DOSE, WEIGHT = 6586.2, 370e6, 70.0


def pet(make_series, drug=None, **tags):
    """A PET series injected at 10:00:00 and acquired from 11:00:00; any tag overridden."""
    item = Dataset()
    values = {
        "RadiopharmaceuticalStartTime": "100000.00",
        "RadionuclideTotalDose": str(DOSE),
        "RadionuclideHalfLife": str(HALF_LIFE),
    } | (drug or {})
    for keyword, value in values.items():
        if value is not None:
            setattr(item, keyword, value)
    defaults = {
        "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["ATTN", "DECY"],
        "PatientWeight": str(WEIGHT), "SeriesDate": "20200102", "SeriesTime": "110000", "AcquisitionDate": "20200102",
        "AcquisitionTime": "110000", "RescaleSlope": "2", "RescaleIntercept": "0",
        "RadiopharmaceuticalInformationSequence": [item],
    }  # fmt: skip
    return make_series(**(defaults | tags)).write_all()


def factor_of(series):
    [volume] = read_series(series.folder)
    assert volume.metadata["unit"] == "SUV", volume.metadata["warnings"]
    factor = volume.metadata["suv"]["factor"]
    np.testing.assert_allclose(volume.array.max(), series.pixels.max() * 2 * factor, rtol=1e-6)
    return factor


def refused_because(series):
    [volume] = read_series(series.folder)
    assert volume.metadata["unit"] != "SUV"
    assert "suv" not in volume.metadata
    assert volume.array.max() == series.pixels.max() * 2
    return volume.metadata["warnings"][0]


def volume_of(series, pet_unit="suv"):
    [volume] = read_series(series.folder, Conversion(pet_unit=pet_unit))
    return volume


def expected(seconds, dose=DOSE):
    return 1000 * WEIGHT / (dose * 0.5 ** (seconds / HALF_LIFE))


def test_start_decays_the_dose_from_injection_to_the_series_time(make_series):
    assert factor_of(pet(make_series)) == pytest.approx(expected(3600), rel=1e-9)


def test_later_bed_positions_do_not_change_the_reference_time(make_series):
    series = pet(make_series)
    for k in range(5):
        series.write(k, AcquisitionTime=f"11{3 * k:02d}00")
    assert factor_of(series) == pytest.approx(expected(3600), rel=1e-9)


def test_series_time_after_acquisition_gives_way_to_the_earliest_acquisition(make_series):
    series = pet(make_series, SeriesTime="180000")
    for k in range(5):
        series.write(k, AcquisitionTime=f"11{30 - 3 * k:02d}15.5")
    assert factor_of(series) == pytest.approx(expected(3600 + 18 * 60 + 15.5), rel=1e-9)


def test_admin_needs_no_decay(make_series):
    assert factor_of(pet(make_series, DecayCorrection="ADMIN")) == pytest.approx(1000 * WEIGHT / DOSE)


def test_injection_before_midnight(make_series):
    series = pet(make_series, {"RadiopharmaceuticalStartTime": "233000"}, SeriesTime="003000", AcquisitionTime="003000")
    assert factor_of(series) == pytest.approx(expected(3600), rel=1e-9)


def test_full_date_time_of_injection_counts(make_series):
    drug = {"RadiopharmaceuticalStartDateTime": "20200101110000", "RadiopharmaceuticalStartTime": None,
            "RadionuclideHalfLife": "282240"}  # fmt: skip
    factor = factor_of(pet(make_series, drug))
    assert factor == pytest.approx(1000 * WEIGHT / (DOSE * 0.5 ** (86400 / 282240)), rel=1e-9)


def test_gml_is_suv_already(make_series):
    assert factor_of(pet(make_series, Units="GML", PatientWeight=None)) == 1


def test_gml_by_lean_mass_is_not_body_weight_suv(make_series):
    series = pet(make_series, Units="GML", SUVType="LBM")
    assert "normalised by LBM" in refused_because(series)
    assert read_series(series.folder)[0].metadata["unit"] == "SUV by LBM"


PERSON = {"PatientSize": "1.85", "PatientSex": "M", "PatientWeight": "75"}


@pytest.mark.parametrize(
    ("pet_unit", "unit", "grams", "named"),
    [  # 100 Bq give these in the tests of cornerstonejs/calculate-suv
        ("suv", "SUV", 750, "body weight"),
        ("suvlbm", "SUVlbm", 609.1533588651974, "lean body mass (Janmahasatian 2005)"),
        ("suvbsa", "SUVbsa", 198.13758427117767, "body surface area (Du Bois 1916), cm2/ml"),
    ],
)
def test_published_worked_example_in_each_normalisation(make_series, pet_unit, unit, grams, named):
    series = pet(make_series, DecayCorrection="ADMIN", **PERSON)
    volume = volume_of(series, pet_unit)
    factor = grams * 100 / DOSE
    assert volume.metadata["unit"] == unit
    assert volume.metadata["suv"]["factor"] == pytest.approx(factor, rel=1e-12)
    assert volume.metadata["suv"]["normalised_by"] == named
    np.testing.assert_allclose(volume.array.max(), series.pixels.max() * 2 * factor, rtol=1e-6)


@pytest.mark.parametrize(("missing", "pet_unit"), [("PatientSex", "suvlbm"), ("PatientSize", "suvlbm"),
                                                   ("PatientSize", "suvbsa"), ("PatientWeight", "suvbsa")])  # fmt: skip
def test_a_measure_of_the_body_that_is_missing_is_named(make_series, missing, pet_unit):
    volume = volume_of(pet(make_series, **(PERSON | {missing: None})), pet_unit)
    assert volume.metadata["unit"] == "Bq/ml"
    assert f"SUV cannot be computed: {missing} is missing" in volume.metadata["warnings"][0]


@pytest.mark.parametrize(
    ("units", "kind", "grams"),
    [
        ("GML", "LBMJANMA", 60915.33588651974),
        ("GML", "LBMJAMES128", 1000 * (1.10 * 75 - 128 * (75 / 185) ** 2)),
        ("GML", "IBW", 1000 * (48 + 1.06 * (185 - 152))),
        ("CM2ML", "BSA", 19813.758427117767),
    ],
)
def test_suv_of_another_kind_is_brought_to_body_weight(make_series, units, kind, grams):
    series = pet(make_series, Units=units, SUVType=kind, **PERSON)
    assert factor_of(series) == pytest.approx(75000 / grams, rel=1e-9)
    same = {"LBMJANMA": "suvlbm", "BSA": "suvbsa"}.get(kind)
    if same:
        assert volume_of(series, same).metadata["suv"]["factor"] == 1


def test_admin_phantom_of_horos_issue_653_reads_one(make_series):
    # a uniform F-18 phantom whose activity is corrected to the injection: SUV 1.00, 2.096 with decay counted twice
    phantom = np.full((3, 4, 4), 10000, np.uint16)
    dose = 10000 * 70000.0
    drug = {"RadionuclideTotalDose": str(dose), "RadiopharmaceuticalStartTime": "090000"}
    series = pet(make_series, drug, pixels=phantom, DecayCorrection="ADMIN", RescaleSlope="1")
    np.testing.assert_allclose(volume_of(series).array, 1.0, rtol=1e-6)


@pytest.mark.parametrize(("group", "creator", "element"), [
    (0x0071, "SIEMENS MED PT", 0x22), (0x0009, "GEMS_PETD_01", 0x0D),
])  # fmt: skip
def test_private_reference_of_decay_in_any_block(make_series, group, creator, element):
    series = pet(make_series, SeriesTime="180000")
    for k in range(5):
        dataset = series.dataset(k)
        dataset.private_block(group, "SOMEBODY ELSE", create=True).add_new(element, "DT", "19990101000000")
        dataset.private_block(group, creator, create=True).add_new(element, "DT", "20200102103000.00")
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    assert factor_of(series) == pytest.approx(expected(1800), rel=1e-9)


def test_private_reference_written_with_implicit_vr(make_series):
    series = pet(make_series, SeriesTime="180000")
    for k in range(5):
        dataset = series.dataset(k)
        dataset.private_block(0x0071, "SIEMENS MED PT", create=True).add_new(0x22, "DT", "20200102103000.00")
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    assert factor_of(series) == pytest.approx(expected(1800), rel=1e-9)


def test_slopes_of_each_slice_and_the_suv_factor_come_together(make_series):
    series = pet(make_series)
    slopes = [0.5, 1.25, 7.0, 0.001, 3.0]
    for k, slope in enumerate(slopes):
        series.write(k, RescaleSlope=str(slope))
    factor = expected(3600)
    truth = series.pixels.astype(np.float64) * np.array(slopes)[:, None, None] * factor
    [volume] = read_series(series.folder)
    np.testing.assert_allclose(np.sort(volume.array, None), np.sort(truth, None), rtol=1e-6)
    assert volume.stored_scale is None


def test_counts_become_activity_by_philips_factor_when_that_is_asked_for_or_all_there_is(make_series):
    series = pet(make_series, Units="CNTS", PatientWeight=None)
    for k in range(5):
        dataset = series.dataset(k)
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x09, "DS", "3.5")
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    for pet_unit in ("bqml", "suv"):
        volume = volume_of(series, pet_unit)
        assert volume.metadata["unit"] == "Bq/ml"
        assert volume.array.max() == pytest.approx(series.pixels.max() * 2 * 3.5)
    assert "PatientWeight is missing; values stay in Bq/ml" in volume.metadata["warnings"][0]


def test_philips_suv_factor_by_lean_body_mass(make_series):
    series = pet(make_series, Units="CNTS", **PERSON)
    for k in range(5):
        dataset = series.dataset(k)
        dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.00125")
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    factor = volume_of(series, "suvlbm").metadata["suv"]["factor"]
    assert factor == pytest.approx(0.00125 * 60915.33588651974 / 75000, rel=1e-9)


def test_two_doses_are_refused(make_series):
    series = pet(make_series)
    for k in range(5):
        dataset = series.dataset(k)
        dataset.RadiopharmaceuticalInformationSequence = [*dataset.RadiopharmaceuticalInformationSequence] * 2
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    assert "RadiopharmaceuticalInformationSequence has 2 items" in refused_because(series)


def test_dynamic_series_has_one_factor_for_all_time_points(make_series):
    series = pet(make_series)
    for t, start in enumerate(["110000", "110500", "112000"]):
        for k in range(5):
            series.write(k, f"{t}-{k}", AcquisitionTime=start, FrameReferenceTime=str(60000 * t + 1),
                         InstanceNumber=5 * t + k + 1)  # fmt: skip
    for k in range(5):
        (series.folder / f"slice{k}").unlink()
    [volume] = read_series(series.folder)
    assert volume.array.shape[3] == 3
    assert volume.metadata["suv"]["factor"] == pytest.approx(expected(3600), rel=1e-9)


def test_philips_counts_use_the_private_factor(make_series):
    series = pet(make_series, Units="CNTS")
    for k in range(5):
        dataset = series.dataset(k)
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.00125")
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    assert factor_of(series) == pytest.approx(0.00125)


def test_philips_counts_with_only_the_activity_factor(make_series):
    series = pet(make_series, Units="CNTS")
    for k in range(5):
        dataset = series.dataset(k)
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0")
        block.add_new(0x09, "DS", "3.5")
        dataset.save_as(series.folder / f"slice{k}", enforce_file_format=True)
    assert factor_of(series) == pytest.approx(3.5 * expected(3600))


@pytest.mark.parametrize(
    ("tags", "drug", "reason"),
    [
        ({"Units": "CNTS"}, {}, "Units is CNTS without"),
        ({"Units": "PROPCPS"}, {}, "Units is PROPCPS"),
        ({"Units": None}, {}, "Units is missing"),
        ({"DecayCorrection": "NONE"}, {}, "DecayCorrection is NONE"),
        ({"CorrectedImage": ["DECY", "NORM"]}, {}, "attenuation or decay is missing"),
        ({"PatientWeight": None}, {}, "PatientWeight"),
        ({"PatientWeight": "0"}, {}, "PatientWeight"),
        ({"RadiopharmaceuticalInformationSequence": None}, {}, "has 0 items"),
        ({}, {"RadionuclideTotalDose": None}, "RadionuclideTotalDose"),
        ({}, {"RadionuclideTotalDose": "370"}, "given in MBq"),
        ({}, {"RadionuclideHalfLife": None}, "RadionuclideHalfLife"),
        ({}, {"RadiopharmaceuticalStartTime": None}, "RadiopharmaceuticalStartTime is missing"),
        ({}, {"RadiopharmaceuticalStartDateTime": "20200102090000"}, "disagree"),
        ({}, {"RadiopharmaceuticalStartDateTime": "20191231100000"}, "h apart, which cannot be"),
        (
            {},
            {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20200102090000+0000"},
            "TimezoneOffsetFromUTC",
        ),
        ({"SeriesTime": None, "AcquisitionTime": None}, {}, "SeriesTime and AcquisitionTime"),
    ],
)
def test_what_does_not_allow_suv_leaves_the_values_and_says_why(make_series, tags, drug, reason):
    assert reason in refused_because(pet(make_series, drug, **tags))


def test_becquerel_on_request(make_series):
    series = pet(make_series)
    [volume] = read_series(series.folder, Conversion(pet_unit="bqml"))
    assert volume.metadata["unit"] == "Bq/ml"
    assert volume.array.max() == series.pixels.max() * 2


def test_sidecar_names_the_tags_but_not_the_patients_weight_or_dates(make_series):
    [volume] = read_series(pet(make_series, PatientWeight="61.25").folder)
    suv = volume.metadata["suv"]
    assert suv["tags"] == ["Units", "DecayCorrection", "PatientWeight", "RadionuclideTotalDose",
                           "RadionuclideHalfLife", "SeriesTime", "RadiopharmaceuticalStartTime"]  # fmt: skip
    assert suv["decay_seconds"] == 3600
    assert "61.25" not in str(volume.metadata)
    assert "20200102" not in str(volume.metadata)


@pytest.mark.parametrize(("sop_class", "written", "becquerel"), [
    ("1.2.840.10008.5.1.4.1.1.130", 370.0, 370e6), ("1.2.840.10008.5.1.4.1.1.130", 370e6, 370e6),
    ("1.2.840.10008.5.1.4.1.1.128", 370e6, 370e6), ("1.2.840.10008.5.1.4.1.1.128.1", 370e6, 370e6),
])  # fmt: skip
def test_dose_is_in_the_unit_of_its_kind_of_object(sop_class, written, becquerel):
    assert stated_dose(written, sop_class) == becquerel
