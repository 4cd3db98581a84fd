import pytest

from medtrans.scans.deidentify.suspicions import burned_in, face
from medtrans.scans.export.finding import scan_file

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    "tags",
    [
        {"BurnedInAnnotation": "YES", "Modality": "CT", "SOPClassUID": CT},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2", "Modality": "MR"},
        {"Modality": "US"},
        {"Modality": "CT", "ImageType": ("DERIVED", "SECONDARY", "SCREEN SAVE")},
        {"Modality": "MR", "ConversionType": "WSD"},
        {"Modality": "PT", "SamplesPerPixel": 3},
        {"BurnedInAnnotation": "NO", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"},
        {"BurnedInAnnotation": "NO", "Modality": "CT", "ImageType": ("DERIVED", "SECONDARY", "DOSE_INFO")},
    ],
)
def test_text_in_pixels_is_suspected(tags):
    assert burned_in(tags)


@pytest.mark.parametrize(
    "tags",
    [{"Modality": "CT", "SOPClassUID": CT, "SamplesPerPixel": 1}, {"Modality": "US", "BurnedInAnnotation": "NO"}],
)
def test_text_in_pixels_is_not_suspected(tags):
    assert not burned_in(tags)


def files(make_series, shape=(40, 16, 16), spacing=(15.0, 15.0), step=4.0, **tags):
    series = make_series(shape=shape, spacing=spacing, step=step, **tags).write_all()
    return [scan_file(path) for path in sorted(series.folder.iterdir())]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"BodyPartExamined": "HEAD"}, True),
        ({"SeriesDescription": "t1 brain"}, True),
        ({"BodyPartExamined": "CHEST"}, False),
        ({"SeriesDescription": "knee sag"}, False),
        ({}, True),  # as large as a head, and nothing says what it is
    ],
)
def test_faces_are_suspected_by_what_is_said_then_by_size(make_series, tags, expected):
    assert bool(face(files(make_series, **tags))) == expected


@pytest.mark.parametrize("size", [{"shape": (5, 16, 16)}, {"spacing": (30.0, 30.0)}, {"spacing": (4.0, 4.0)}])
def test_too_small_or_too_large_for_a_head(make_series, size):
    assert face(files(make_series, **size)) == ""
