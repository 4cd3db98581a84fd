"""Folders and files of the output: for any identifier, on any file system, nobody's name unless asked for."""

from pathlib import PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.scans import convert_export
from medtrans.scans.output.pseudonyms import LONGEST, Pseudonyms, fit_for_file

ODD = ["../..", "/etc/passwd", "..\\..\\x", "CON", "nul.txt", "com1", "a/b", "A/B", "a:b", "Ä", "A\u0308", "", " ", ".",
       "..", "-rf", "x" * 300, "é" * 60, "a\x00b", "a\nb", "~", "*?", "\udcff",
       "patient-001", "PATIENT-001"]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(ODD), st.text(max_size=40))


@given(TEXTS)
def test_a_name_is_one_plain_file_on_every_system(text):
    name = fit_for_file(text)
    assert len(name.encode()) <= LONGEST + 1
    assert not set(name) & set('/\\:*?"<>|\x00\n ')
    assert not name.startswith((".", "-"))
    assert not name.endswith((".", " "))
    assert not PureWindowsPath(name).is_reserved()
    assert not name or len(PureWindowsPath(name).parts) == 1


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXTS, unique=True, min_size=1, max_size=12), st.booleans())
def test_no_two_identifiers_share_a_folder_even_where_case_is_ignored(tmp_path_factory, identifiers, keep):
    names = Pseudonyms(tmp_path_factory.mktemp("x"), keep).number("patient", identifiers, "patient-{:03d}")
    assert len({name.casefold() for name in names.values()}) == len(identifiers)
    assert all(names.values())


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXTS, unique=True, min_size=2, max_size=8), st.integers(1, 7), st.booleans())
def test_a_name_once_given_stays_when_others_come(tmp_path_factory, identifiers, count, keep):
    folder = tmp_path_factory.mktemp("x")
    first = Pseudonyms(folder, keep)
    before = first.number("patient", identifiers[:count], "patient-{:03d}")
    first.save()
    after = Pseudonyms(folder, keep).number("patient", identifiers, "patient-{:03d}")
    assert before == {identifier: after[identifier] for identifier in before}


def test_tags_that_are_paths_lead_nowhere(make_series, tmp_path):
    series = make_series(shape=(3, 4, 4), Modality="MR", SeriesNumber=None)
    for k in range(3):
        series.write(k, Modality="../../../MR", PatientID="../../etc", StudyInstanceUID="../x", SeriesNumber="-3")
    out = tmp_path / "a" / "b" / "out"
    [row] = convert_export(series.folder, out, keep_identifiers=True).itertuples()
    assert (out / row.path).resolve().is_relative_to(out.resolve()) if row.path else row.status != "converted"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out"]
    assert ".." not in f"{row.patient}/{row.study}/{row.series}"


def test_series_whose_modalities_differ_in_case_only_get_two_files(make_series, tmp_path):
    for n, modality in enumerate(("MR", "mr")):
        series = make_series(seed=n, SeriesInstanceUID=f"1.2.{n}", StudyInstanceUID="1.5")
        for k in range(5):
            series.write(k, f"{n}-{k}", Modality=modality)
    table = convert_export(series.folder, tmp_path / "out")
    assert len({name.casefold() for name in table.series}) == 2


def test_numbers_do_not_depend_on_where_files_lie(make_series, tmp_path):
    for n in range(4):
        series = make_series(shape=(3, 4, 4), seed=n, PatientID=f"p{n % 2}", SeriesInstanceUID=f"1.2.{n}")
        for k in range(3):
            series.write(k, f"one/{n}/{k}")
            series.write(k, f"two/{9 - n}/{9 - k}")
    one, two = (convert_export(series.folder / name, tmp_path / name) for name in ("one", "two"))
    columns = ["patient", "study", "series", "shape", "path"]
    assert one[columns].equals(two[columns])


def test_without_its_pseudonyms_an_output_takes_no_more_patients(make_series, tmp_path):
    series = make_series().write_all()
    convert_export(series.folder, tmp_path / "out")
    (tmp_path / "out" / ".pseudonyms.json").unlink()
    with pytest.raises(InputError, match=r"no \.pseudonyms\.json"):
        convert_export(series.folder, tmp_path / "out")
