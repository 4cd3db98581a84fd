import numpy as np
import pytest
from pydicom.dataset import Dataset

from medtrans.scans import Conversion, read_series

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
            "another time zone",
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
