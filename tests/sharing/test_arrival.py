"""What arrives is what was packed: changed files, added configs, code in weights, names that lead out are refused."""

import io
import json
import os
import stat
import zipfile

import pytest
import torch

from medtrans import InputError
from medtrans.cohorts import write_phantom_cohort
from medtrans.files import file_hash
from medtrans.sharing import pack, unpack, verify
from medtrans.sharing.archive import manifest, write_archive


@pytest.fixture(scope="module")
def packed(tmp_path_factory, write_trained_bundle):
    folder = tmp_path_factory.mktemp("home")
    write_phantom_cohort(folder / "set", 3, ["T1", "T2"], 12.0)
    return pack(write_trained_bundle(folder, "simple", folder / "set"), folder / "simple.zip")


@pytest.fixture
def copy(packed, tmp_path):
    return unpack(packed, tmp_path)


def test_a_changed_weight_is_refused_by_every_way_in(copy, tmp_path, run_medtrans):
    state = torch.load(copy / "models/model.pt", weights_only=True)
    torch.save({name: value + 1e-3 for name, value in state.items()}, copy / "models/model.pt")
    with pytest.raises(InputError, match=r"model.pt: was changed since the bundle was packed"):
        verify(copy)
    write_phantom_cohort(tmp_path / "set", 3, ["T1", "T2"], 12.0)
    code, last = run_medtrans("translate", copy, tmp_path / "set", tmp_path / "out")
    assert (code, "model.pt: was changed since the bundle was packed" in last) == (2, True)


@pytest.mark.parametrize("name", ["configs/inference.json", "models/modalities.json", "LICENSE"])
def test_a_changed_file_is_refused(copy, name):
    (copy / name).write_text((copy / name).read_text() + " ")
    with pytest.raises(InputError, match="was changed since"):
        verify(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match="is not there, though it was packed"):
        verify(copy)


def test_an_added_config_is_refused_and_results_are_not(copy):
    (copy / "eval").mkdir()
    (copy / "eval/a.nii").write_bytes(b"")
    verify(copy)
    for name in ("configs/more.json", "configs/notes", "inference.yaml", "medtrans.py", "scripts/__init__.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text("{}")
        with pytest.raises(InputError, match=r"was added since .* it would be run as code"):
            verify(copy)
        (copy / name).unlink()
    verify(copy)


def test_code_in_weights_is_refused_though_the_manifest_fits(tmp_path):
    class Command:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    torch.save({"weight": Command()}, tmp_path / "model.pt")
    contents = {"models/model.pt": tmp_path / "model.pt", "configs/inference.json": b"{}"}
    contents["manifest.json"] = manifest(contents, name="bad", version="1")
    path = write_archive(tmp_path / "bad.zip", "bad", contents)
    for way in (verify, lambda path: unpack(path, tmp_path / "there")):
        with pytest.raises(InputError, match="holds code"):
            way(path)
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "there/bad").exists()


def rewritten(path, out, change):
    """The zip with what ``change(name, data)`` gives, a list of (ZipInfo or name, data)."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            for name, data in change(entry.filename, old.read(entry)):
                new.writestr(name, data)
    return out


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "name",
    [
        "../out.json",
        "simple/../../out.json",
        "/tmp/out.json",
        "simple\\..\\out.json",
        "C:/out.json",
        "simple/./x.json",
        "simple//x.json",
    ],
)
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(packed, tmp_path, name):
    def change(old, data):
        return [(old, data), (name, b"{}")] if old.endswith("LICENSE") else [(old, data)]

    path = rewritten(packed, tmp_path / "a.zip", change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="leads elsewhere or stands twice"):
        unpack(path, tmp_path / "there")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_that_unpacks_to_far_more_than_it_is_writes_nothing(packed, tmp_path):
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        new.writestr("simple/docs/large.md", bytes(8 << 20))
    with pytest.raises(InputError, match="unpacks to far more than it is"):
        unpack(tmp_path / "a.zip", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_damaged_compressed_entry_is_one_clear_error(packed, tmp_path):
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        weights = next(entry for entry in new.infolist() if entry.filename.endswith("model.pt"))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    start = weights.header_offset + 30 + len(weights.filename)
    data[start : start + 64] = b"\xff" * 64
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a packed bundle"):
        unpack(tmp_path / "a.zip", tmp_path / "there")


def test_links_second_folders_and_strangers_are_refused(packed, tmp_path):
    def adding(name, data=b"{}"):
        return lambda old, old_data: [(old, old_data), *([(name, data)] if old.endswith("LICENSE") else [])]

    for name, said in (
        (link("simple/configs/link.json"), "leads elsewhere"),
        ("other/x.json", "not one folder"),
        ("simple/configs/more.json", "holds another configs/more.json than was packed"),
    ):
        path = rewritten(packed, tmp_path / "a.zip", adding(name))
        with pytest.raises(InputError, match=said):
            unpack(path, tmp_path / "there")
    assert not (tmp_path / "there/simple").exists()


def test_what_is_no_packed_bundle_is_refused(packed, tmp_path):
    (tmp_path / "cut.zip").write_bytes(packed.read_bytes()[:-400])
    (tmp_path / "text.zip").write_text("no zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/b.json", "{}")
    (tmp_path / "plain.zip").write_bytes(buffer.getvalue())

    def without(old, data):
        return [(old, json.dumps({"format": 99}) if old.endswith("manifest.json") else data)]

    rewritten(packed, tmp_path / "future.zip", without)
    for name in ("cut", "text", "plain", "future", "absent"):
        with pytest.raises(InputError):
            unpack(tmp_path / f"{name}.zip", tmp_path / "there")
    with pytest.raises(InputError, match="is no packed bundle"):
        verify(tmp_path)
    assert not (tmp_path / "there").exists() or not list((tmp_path / "there").iterdir())


def test_training_anew_makes_the_weights_ones_own(copy, tmp_path):
    from medtrans.weights import read_weights

    record = copy / "models/modalities.json"
    said = json.loads(record.read_text())
    assert said["weights"] == {"model.pt": file_hash(copy / "models/model.pt")}
    del said["weights"]  # as a training writes it
    record.write_text(json.dumps(said))
    torch.save({"weight": torch.zeros(1)}, copy / "models/model.pt")
    read_weights(copy / "models/model.pt")
