"""Whose scan a volume belongs to is never guessed."""

import numpy as np
import pytest

from medtrans.errors import InputError
from medtrans.scans.derived.matching import source_of
from medtrans.scans.derived.sources import source_series
from medtrans.scans.export.finding import found_scans


@pytest.fixture
def sources_of(make_series):
    """``sources_of([tags, …])``: the sources of an export of one small series each, and the affine of the first."""

    def make(*series):
        for number, options in enumerate(series):
            written = make_series(seed=number, **({"SeriesNumber": number + 1} | options))
            written.series = f"1.2.3.{number}"
            written.folder = written.folder / str(number)
            written.write_all()
        with found_scans(written.folder.parent) as files:
            found, refused = source_series(files)
        assert refused == []
        return sorted(found, key=lambda source: source.name), written.affine

    return make


def find(sources, affine, images=""):
    return source_of("x.nii", (6, 8, 5), affine, images, sources)


def test_what_the_conversion_recorded_decides_among_patients_with_equal_grids(sources_of):
    sources, affine = sources_of({"PatientID": "A"}, {"PatientID": "B"}, {"PatientID": "C"})
    assert len({source.images for source in sources}) == 3
    for source in sources:
        assert find(sources, affine, source.images) is source


def test_images_that_are_not_there_are_refused_though_a_grid_fits(sources_of):
    sources, affine = sources_of({})
    with pytest.raises(InputError, match="not among those of --like"):
        find(sources, affine, "0123456789abcdef")


def test_without_a_record_several_patients_are_refused_though_one_grid_fits(sources_of):
    sources, affine = sources_of({"PatientID": "A", "origin": (500, 0, 0)}, {"PatientID": "B"})
    with pytest.raises(InputError, match="several patients"):
        find(sources, affine)


def test_without_a_record_the_one_grid_of_one_patient_decides(sources_of):
    sources, affine = sources_of({"origin": (500, 0, 0)}, {"shape": (4, 8, 6)}, {})
    assert find(sources, affine).name == "3-MR"


def test_several_series_on_its_grid_are_refused_by_name(sources_of):
    sources, affine = sources_of({}, {})
    with pytest.raises(InputError, match=r"grid of 2 series \(1-MR, 2-MR\)"):
        find(sources, affine)


def test_no_series_on_its_grid_is_refused(sources_of):
    sources, affine = sources_of({}, {})
    with pytest.raises(InputError, match="grid of none of the 2"):
        find(sources, affine + np.eye(4)[3])


def test_messages_do_not_name_the_patient(sources_of):
    sources, affine = sources_of({"PatientID": "Secret-1"}, {"PatientID": "Secret-2"})
    with pytest.raises(InputError) as refusal:
        find(sources, affine)
    assert "Secret" not in str(refusal.value)


def test_a_series_that_was_derived_from_it_earlier_does_not_make_it_doubtful(sources_of):
    earlier = {"SeriesDescription": "SYNTHETIC CT, NOT FOR DIAGNOSIS (x)", "ImageType": ["DERIVED", "SECONDARY"]}
    sources, affine = sources_of({}, earlier)
    assert find(sources, affine).name == "1-MR"
