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


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def sources(tmp_path):
    """A folder of bundles with two layers, and the bundle that names them."""
    for name in ("train", "inference", "three_d"):
        written(tmp_path / f"common/{name}.json", {"network_def": {"size": 1}, "rate": 1, "seed": 0})
    for name in ("LICENSE", "logging.conf"):
        (tmp_path / "common" / name).write_text("")
    written(
        tmp_path / "common/layers/first.json", {"train": {"rate": 2, "seed": None}, "three_d": None, "mine": {"a": 1}}
    )
    written(tmp_path / "common/layers/second.json", {"train": {"rate": 3, "pool": 50}, "mine": {"b": 2}})
    written(tmp_path / "cycle/method.json", {"layers": ["first", "second"], "train": {"pool": 7}})
    return tmp_path


def test_layers_come_in_their_order_before_the_bundles_own_changes(sources):
    files = {name: json.loads(text) for name, text in bundle_files(sources / "cycle").items() if name.endswith(".json")}
    assert files["train.json"] == {"network_def": {"size": 1}, "rate": 3, "pool": 7}
    assert files["mine.json"] == {"a": 1, "b": 2}
    assert "three_d.json" not in files
    assert files["inference.json"]["rate"] == 1
    assert "layers.json" not in files


def test_a_layer_that_is_not_there_is_named(sources):
    written(sources / "cycle/method.json", {"layers": ["third"]})
    with pytest.raises(InputError, match=r"third\.json: cannot be read"):
        bundle_files(sources / "cycle")


def test_a_broken_source_is_named(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/method.json").write_text("{")
    with pytest.raises(InputError, match=r"method\.json: is not readable JSON"):
        bundle_files(tmp_path / "mine")
