"""Rows as they are typed and as study files list them; what cannot be compared is refused before anything runs."""

import json
from pathlib import Path

import pytest

from medtrans import InputError
from medtrans.benchmark.command import numbers, studies_of
from medtrans.benchmark.study import read_study, slug, typed_row, typed_study

ROOT = Path(__file__).parents[2]


def test_a_row_is_a_bundle_with_overlays_and_settings(bundle):
    folder = bundle("toy")
    row = typed_row(f"fast={folder}+quick.json+rate=0.5+network_def#blocks=3")
    assert (row.name, row.bundle) == ("fast", folder)
    assert row.overlays == (folder / "configs" / "quick.json",)
    assert row.settings == {"rate": 0.5, "network_def#blocks": 3}


def test_a_row_without_a_name_is_named_by_what_it_is(bundle):
    assert typed_row(f"{bundle('toy')}").name == "toy"
    assert typed_row(f"{bundle('toy')}+quick.json+rate=2").name == "toy+quick+rate=2"


def test_an_overlay_is_a_path_or_a_name_in_the_bundle(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("{}")
    assert typed_row(f"{bundle()}+mine.json").overlays == (tmp_path / "mine.json",)
    with pytest.raises(InputError, match=r"absent\.json: does not exist"):
        typed_row(f"{bundle()}+absent.json")


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a bundle"):
        typed_row(str(tmp_path))


def test_two_rows_of_one_name_are_refused(bundle):
    with pytest.raises(InputError, match="is there twice"):
        typed_study([f"{bundle()}", f"{bundle()}"])


def write(path, **content):
    path.write_text(json.dumps(content))
    return path


def test_a_study_file_lists_rows_from_its_own_folder(bundle, tmp_path):
    bundle("toy")
    rows = {
        "A": {"bundle": "bundles/toy", "settings": {"rate": 1}, "place": 1, "published": {"ssim": 0.9}},
        "B": {"bundle": "bundles/toy", "overlays": ["quick.json"]},
    }
    study = read_study(write(tmp_path / "mine.json", title="Mine", rows=rows, baseline="B", axis="rate"))
    assert (study.name, study.title, study.baseline, study.axis) == ("mine", "Mine", "B", "rate")
    assert [row.name for row in study.rows] == ["A", "B"]
    assert study.rows[0].place == 1
    assert read_study(tmp_path / "mine.json", baseline="A").baseline == "A"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "lists no rows"),
        ({"rows": {"A": {}}}, "lists no rows"),
        ({"rows": {"A": {"bundle": "bundles/toy", "overlay": []}}}, "has no key 'overlay'"),
        ({"rows": {"A": {"bundle": "bundles/toy"}}, "titel": ""}, "has no key 'titel'"),
        ({"rows": {"A": {"bundle": "nowhere"}}}, "is not a bundle"),
        ({"rows": {"A": {"bundle": "bundles/toy"}}, "baseline": "C"}, "is no row"),
    ],
)
def test_a_study_file_that_says_something_else_is_refused(content, message, bundle, tmp_path):
    bundle("toy")
    with pytest.raises(InputError, match=message):
        read_study(write(tmp_path / "mine.json", **content))


def test_a_baseline_must_be_a_row_of_some_study(bundle):
    rows = [f"a={bundle()}", f"b={bundle()}"]
    assert studies_of(rows, [], "b")[0].baseline == "b"
    with pytest.raises(InputError, match="is no row"):
        studies_of(rows, [], "c")


def test_seeds_are_whole_numbers_without_repetition():
    assert numbers("3,1") == [3, 1]
    for text in ("a", "1,1", ""):
        with pytest.raises(InputError, match="--seeds"):
            numbers(text)


def test_names_become_folders():
    assert slug("MedGAN-1G (λ=20)") == "medgan-1g-20"
    assert slug("…") == "row"


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.json")), ids=lambda path: path.stem)
def test_shipped_studies_name_bundles_and_metrics_that_exist(path):
    from medtrans import metrics

    study = read_study(path)
    assert len(study.rows) >= 5
    for row in study.rows:
        metrics.create(list(row.published))


def test_the_depth_study_goes_from_one_to_seven_blocks():
    study = read_study(ROOT / "studies" / "paper_depth.json")
    assert [row.place for row in study.rows] == list(range(1, 8))
