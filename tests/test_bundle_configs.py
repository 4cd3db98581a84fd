"""Bundles are written whole from what they share and what each says of itself."""

import json
from pathlib import Path

import pytest

from medtrans import InputError
from medtrans.bundle_configs import bundle_files, merged, rendered, write_bundle

BUNDLES = Path(__file__).parents[1] / "bundles"
METHODS = sorted(path.parent.name for path in BUNDLES.glob("*/method.json"))


@pytest.mark.parametrize("name", METHODS)
def test_what_lies_in_a_bundle_is_what_its_sources_say(name):
    bundle = BUNDLES / name
    files = bundle_files(bundle)
    for path, text in files.items():
        assert (bundle / path).read_text(encoding="utf-8") == text, f"{bundle / path} is stale: run `make bundles`"
        assert not (bundle / path).is_symlink()
    there = {path for pattern in ("configs/**/*", "*") for path in bundle.glob(pattern) if path.is_file()}
    strange = {path.relative_to(bundle).as_posix() for path in there} - set(files) - {"method.json"}
    assert not strange, f"no source says anything of {strange} in {bundle}"


def test_every_folder_of_bundles_is_a_bundle_or_what_they_share():
    folders = {path.name for path in BUNDLES.iterdir() if path.is_dir()}
    assert folders == {*METHODS, "common"}


@pytest.mark.parametrize("name", METHODS)
def test_the_root_files_are_copies_of_those_in_configs(name):
    files = bundle_files(BUNDLES / name)
    at_root = {path for path in files if "/" not in path} - {"LICENSE"}
    assert {"train.json", "inference.json", "evaluate.json", "metadata.json", "logging.conf"} <= at_root
    assert all(files[path] == files[f"configs/{path}"] for path in at_root)


@pytest.mark.parametrize(
    ("base", "changes", "result"),
    [  # RFC 7396, appendix A, without the rows on arrays at the top
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_changes_merge_as_json_merge_patch(base, changes, result):
    assert merged(base, changes) == result


def test_another_component_takes_nothing_over_from_the_one_before():
    base = {"network": {"_target_": "A", "blocks": 6}}
    assert merged(base, {"network": {"blocks": 1}}) == {"network": {"_target_": "A", "blocks": 1}}
    assert merged(base, {"network": {"_target_": "B", "width": None}}) == {"network": {"_target_": "B", "width": None}}


def test_a_new_key_goes_before_the_one_that_follows_it():
    result = merged({"a": 1, "b": 2, "c": 3}, {"x": 8, "y": 9, "b": 2, "z": 0})
    assert list(result) == ["a", "x", "y", "b", "c", "z"]


def test_lines_are_filled_and_paragraphs_kept():
    config = {"a": {"b": [1, 2]}, "long": {"first": "x" * 60, "second": "y" * 60}, "c": []}
    text = rendered(config, paragraphs=frozenset(["c"]))
    assert json.loads(text) == config
    assert text.splitlines()[1] == '    "a": {"b": [1, 2]},'
    assert text.splitlines()[-3:] == ["", '    "c": []', "}"]
    assert max(map(len, text.splitlines())) <= 120


def test_only_what_has_changed_is_written(tmp_path):
    assert write_bundle(tmp_path, {"configs/a.json": "1\n", "a.json": "1\n"}) == ["configs/a.json", "a.json"]
    assert write_bundle(tmp_path, {"configs/a.json": "1\n", "a.json": "2\n"}) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "2\n"


def test_a_broken_source_is_named(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/method.json").write_text("{")
    with pytest.raises(InputError, match=r"method\.json: is not readable JSON"):
        bundle_files(tmp_path / "mine")
