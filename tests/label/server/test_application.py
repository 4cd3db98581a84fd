"""What the app makes of the models' source modalities when it asks a DICOMweb server."""

import pytest


@pytest.fixture(scope="module")
def application():
    import medtrans.label.pydicom_names  # noqa: F401  before anything of MONAI Label
    from medtrans.label import application

    return application


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (["SUV"], "suv"),
        (["Bq/ml"], "bqml"),
        (["BQML", "Bq/mL"], "bqml"),
        (["SUVlbm"], "suvlbm"),
        (["SUV", "Bq/ml"], "suv"),
        ([], "suv"),
    ],
)
def test_pet_is_converted_to_the_unit_of_the_models(application, units, expected):
    sources = [{"kind": "PET", "unit": unit} for unit in units] + [{"kind": "CT", "unit": "HU"}]
    assert application.pet_unit(sources) == expected


def test_series_of_the_models_modalities_are_asked_for(application):
    assert application.dicom_modalities([{"kind": "MR"}, {"kind": "PET"}]) == {"MR", "PT"}
    assert application.dicom_modalities([{}]) == {"CT", "MR", "PT"}
