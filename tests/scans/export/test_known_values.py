import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medtrans.scans.export import known_values
from medtrans.scans.export.headers import TAGS, read_dicom, tag_values


@pytest.fixture(autouse=True)
def forgotten():
    known_values._known.clear()


def raw_data_set(keyword, vr, content, characters="iso8859", implicit=False, little=True):
    tag = Tag(keyword)
    dataset = Dataset({tag: RawDataElement(tag, None if implicit else vr, len(content), content, 0, implicit, little)})
    dataset.set_original_encoding(implicit, little, characters)
    return dataset


def test_same_bytes_in_another_character_set_are_other_text():
    content = "Größe".encode()
    texts = [tag_values(raw_data_set("SeriesDescription", "LO", content, c), ("SeriesDescription",))
             for c in ("utf8", "latin_1", "utf8")]  # fmt: skip
    assert [text["SeriesDescription"] for text in texts] == ["Größe", content.decode("latin_1"), "Größe"]


def test_same_bytes_in_another_byte_order_are_another_number():
    rows = [tag_values(raw_data_set("Rows", "US", b"\x00\x02", little=little), ("Rows",))["Rows"]
            for little in (True, False, True)]  # fmt: skip
    assert rows == [512, 2, 512]


def test_padding_is_signed_or_unsigned_by_its_own_file(make_series, tmp_path):
    values = []
    for n, kind in enumerate(("i2", "u2", "i2")):
        series = make_series(np.zeros((1, 4, 4), kind))
        padding = -2000 if kind == "i2" else 63536
        path = series.write(0, f"{n}", encoding=ImplicitVRLittleEndian, PixelPaddingValue=padding)
        values.append(read_dicom(path).tags["PixelPaddingValue"])
    assert values == [-2000, 63536, -2000]


def test_damaged_values_are_refused_every_time(make_series):
    path = make_series(shape=(1, 4, 4), RescaleSlope="1.25").write(0)
    path.write_bytes(path.read_bytes().replace(b"1.25", b"1.x5"))
    for _ in range(2):
        assert "its RescaleSlope cannot be understood" in read_dicom(path).problem


@pytest.mark.parametrize("encoding", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_file_says_the_same_the_second_time(make_series, encoding):
    series = make_series(shape=(1, 4, 4), SeriesDescription="T1", EchoTime="4.5", SpecificCharacterSet="ISO_IR 192")
    path = series.write(0, encoding=encoding)
    first = read_dicom(path).tags
    assert len(known_values._known) > 20
    assert read_dicom(path).tags == first


NUMBERS = st.sampled_from(["1", "-2.5", "1\\2", "1e3", "", " 7 ", "x", "nan"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["EchoTime", "ImageType", "InstanceNumber", "Rows"]), NUMBERS), max_size=8))
def test_what_is_remembered_is_what_pydicom_says(elements):
    kinds = {"EchoTime": "DS", "ImageType": "CS", "InstanceNumber": "IS", "Rows": "US"}

    def said():
        found = []
        for keyword, text in elements:
            content = text.encode() if kinds[keyword] != "US" else text.encode()[:2].ljust(2)
            try:
                found.append(tag_values(raw_data_set(keyword, kinds[keyword], content), TAGS))
            except ValueError as error:
                found.append(str(error))
        return found

    known_values._known.clear()
    first = said()
    second = said()
    assert repr(first) == repr(second)
    fresh = []
    for element in elements:
        known_values._known.clear()
        elements, kept = [element], elements
        fresh += said()
        elements = kept
    assert repr(fresh) == repr(first)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(known_values, "MOST", 10)
    for number in range(50):
        assert tag_values(raw_data_set("EchoTime", "DS", str(number).encode()), ("EchoTime",))["EchoTime"] == number
        assert len(known_values._known) <= 10
