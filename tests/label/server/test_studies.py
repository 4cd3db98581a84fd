"""The folder of studies as such, without a server: names, links, what is on the disk, many volumes, many threads."""

import errno
import json
import os
import shutil
import tempfile
import threading
import time

import pytest

from medtrans.errors import InputError

pytest.importorskip("monailabel", reason="MONAI Label has an environment of its own: make label")

from monailabel.interfaces.exception import ImageNotFoundException

from medtrans.label import within
from medtrans.label.studies import StudiesFolder, check_studies
from medtrans.label.watching import QUIET


@pytest.fixture
def folder(tmp_path):
    """Three volumes, one of them in a sub-folder, and a file outside."""
    folder = tmp_path / "studies"
    for name in ("one.nii.gz", "two.nii", "ward/three.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.nii.gz").write_bytes(b"secret")
    return folder


@pytest.fixture
def upload(tmp_path):
    """``upload(name)``: a file as a client sends it."""

    def make(name="sent.nii.gz", content=b"sent"):
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return make


def opened(folder):
    return StudiesFolder(folder, watch=False)


# --- pairs


def test_only_pairs_tell_whose_a_study_is(folder, upload):
    store = opened(folder)
    store.add_image("new", upload(), {"subject": "/etc/passwd"})
    store.save_label("new", upload(), "final", {})
    image, label = str(folder / "new.nii.gz"), str(folder / "labels/final/new.nii.gz")
    assert store.pairs() == [{"image": image, "label": label, "subject": "/etc/passwd"}]
    assert store.datalist() == [{"image": image, "label": label}]
    assert store.datalist(full_path=False) == [{"image": "new.nii.gz", "label": "labels/final/new.nii.gz"}]


def test_an_archive_holds_volumes_of_the_studies_only(folder, upload):
    import zipfile

    store = opened(folder)
    store.add_image("new", upload(), {"subject": "/etc/passwd"})
    store.save_label("new", upload(), "final", {})
    with zipfile.ZipFile(store.get_dataset_archive(None)) as archive:
        assert sorted(archive.namelist()) == ["image/new.nii.gz", "label/new.nii.gz", "metadata.json"]


def test_training_takes_pairs_with_their_subjects(folder, upload, monkeypatch, tmp_path):
    from types import SimpleNamespace

    from medtrans.label import trainer
    from medtrans.label.options import TrainingOptions

    store = opened(folder)
    store.add_image("new", upload(), {"subject": "p7"})
    store.save_label("new", upload(), "final", {})
    taken = []
    monkeypatch.setattr(trainer, "train_on_pairs", lambda *words: taken.append(words[2]) or {})
    bundle = SimpleNamespace(metadata={}, name="b", folder=tmp_path, models=tmp_path)
    trainer.BundleTrainer(bundle, tmp_path, TrainingOptions())({}, store)
    assert [pair["subject"] for pair in taken[0]] == ["p7"]


# --- links


def test_links_to_elsewhere_are_not_listed(folder, tmp_path):
    (folder / "link.nii.gz").symlink_to(tmp_path / "outside/secret.nii.gz")
    (folder / "door").symlink_to(tmp_path / "outside")
    (folder / "labels/final").mkdir(parents=True)
    (folder / "labels/final/one.nii.gz").symlink_to(tmp_path / "outside/secret.nii.gz")
    (folder / "labels/other").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/one.nii.gz").write_bytes(b"other")
    store = opened(folder)
    assert set(store.list_images()) == {"one", "two", "ward/three"}
    assert store.status()["label_tags"] == {}
    assert store.pairs() == []


def test_a_link_that_comes_after_the_listing_is_not_followed(folder, tmp_path, upload):
    store = opened(folder)
    store.save_label("two", upload(), "final", {})
    for path in (folder / "one.nii.gz", folder / "labels/final/two.nii.gz"):
        path.unlink()
        path.symlink_to(tmp_path / "outside/secret.nii.gz")
    with pytest.raises(ImageNotFoundException):
        store.get_image_uri("one")
    assert store.get_image_info("one") == {}
    assert store.get_label_uri("two", "final") == ""
    assert store.pairs() == []
    store.refresh()
    assert "one" not in store.list_images()


def test_a_link_to_another_study_is_a_study_and_its_removal_leaves_that_one(folder):
    (folder / "again.nii.gz").symlink_to(folder / "one.nii.gz")
    store = opened(folder)
    assert store.get_image_uri("again") == str(folder / "one.nii.gz")
    store.remove_image("again")
    assert not (folder / "again.nii.gz").is_symlink()
    assert (folder / "one.nii.gz").read_bytes() == b"one.nii.gz"


def test_removal_of_a_link_to_elsewhere_leaves_what_it_leads_to(folder, tmp_path, upload):
    store = opened(folder)
    store.save_label("two", upload(), "final", {})
    for path in (folder / "two.nii", folder / "labels/final/two.nii.gz"):
        path.unlink()
        path.symlink_to(tmp_path / "outside/secret.nii.gz")
    store.remove_label("two", "final")
    assert not (folder / "labels/final/two.nii.gz").is_symlink()
    assert (tmp_path / "outside/secret.nii.gz").read_bytes() == b"secret"


def test_nothing_is_written_through_links(folder, tmp_path, upload):
    (folder / "door").symlink_to(tmp_path / "outside")
    (folder / "new.nii.gz").symlink_to(tmp_path / "outside/dangling.nii.gz")
    store = opened(folder)
    for name in ("door/new", "door/deeper/new", "new"):
        with pytest.raises(InputError):
            store.add_image(name, upload(), {})
    (folder / "labels/other").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="leads out"):
        store.save_label("one", upload(), "other", {})
    (folder / "labels/final/one.nii.gz").symlink_to(folder / "two.nii")
    store.save_label("one", upload(), "final", {})
    assert (folder / "two.nii").read_bytes() == b"two.nii"
    assert (folder / "labels/final/one.nii.gz").read_bytes() == b"sent"
    assert [path.name for path in (tmp_path / "outside").rglob("*")] == ["secret.nii.gz"]


def test_the_studies_themselves_may_be_behind_a_link(folder, tmp_path, upload):
    (tmp_path / "way").symlink_to(folder)
    store = opened(tmp_path / "way")
    assert set(store.list_images()) == {"one", "two", "ward/three"}
    store.add_image("new", upload(), {})
    store.save_label("new", upload(), "final", {})
    assert len(store.pairs()) == 1


def test_a_list_that_names_what_lies_outside_is_mended(folder, tmp_path):
    opened(folder)
    table = folder / "datastore_v2.json"
    record = json.loads(table.read_text())
    entry = {"image": {"ext": ".nii.gz", "info": {}}, "labels": {"../..": {"ext": ".nii", "info": {}}}}
    record["objects"] |= {"../outside/secret": entry, "labels/final/one": entry, "one": entry}
    table.write_text(json.dumps(record))
    store = opened(folder)
    assert set(store.list_images()) == {"one", "two", "ward/three"}
    assert store.get_labels_by_image_id("one") == {}


# --- nothing is replaced


@pytest.mark.parametrize("name", ["labels/final/one", "LABELS/final/one", "labels", "Labels/x", "./labels/final/one"])
def test_no_image_lies_among_the_labels(folder, upload, name):
    store = opened(folder)
    store.save_label("one", upload("truth.nii.gz", b"truth"), "final", {})
    with pytest.raises(InputError):
        store.add_image(name, upload(), {})
    assert (folder / "labels/final/one.nii.gz").read_bytes() == b"truth"


@pytest.mark.parametrize("name", ["one", "ONE", "two", "ward/THREE", "hidden", "ward/../one"])
def test_what_is_on_the_disk_is_never_replaced(folder, upload, name):
    store = opened(folder)
    (folder / "Hidden.mha").write_bytes(b"not listed yet")
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.suffix in (".gz", ".nii", ".mha")}
    sent = upload()
    with pytest.raises(InputError):
        store.add_image(name, sent, {})
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(folder.rglob("*.nii.gz"))) == 2


@pytest.mark.parametrize("tag", ["a/b", "final/", ".", "..", "", "a b", "final\n", "é/x", "a.b"])
def test_tags_are_one_word(folder, upload, tag):
    store = opened(folder)
    for use in (lambda: store.save_label("one", upload(), tag, {}), lambda: store.get_label_uri("one", tag),
                lambda: store.remove_label("one", tag)):  # fmt: skip
        with pytest.raises(InputError, match="tag"):
            use()


def test_a_label_of_another_ending_takes_the_place_of_the_former(folder, upload):
    store = opened(folder)
    store.save_label("one", upload("a.nii"), "final", {})
    store.save_label("one", upload("b.nii.gz"), "final", {})
    assert [path.name for path in (folder / "labels/final").iterdir()] == ["one.nii.gz"]
    store.remove_label("one", "final")
    assert store.pairs() == []


def test_a_prepared_data_set_stays_whole(phantom_heads, tmp_path, upload):
    folder = shutil.copytree(phantom_heads, tmp_path / "heads")
    store = opened(folder)
    assert sorted(store.list_images()) == sorted(f"head-000{k}/{name}" for k in range(4) for name in ("T1", "T2"))
    masks = [path for path in folder.rglob("*.nii*") if path.name.split(".")[0] not in ("T1", "T2")]
    assert masks
    for path in masks:
        with pytest.raises(InputError, match="is there already"):
            store.add_image(path.relative_to(folder).as_posix().split(".")[0], upload(), {})
    with pytest.raises(InputError, match=r"exclude\.csv"):
        store.remove_image("head-0000/T1")
    store.add_image("new", upload(), {})
    store.remove_image("new")
    assert len(store.list_images()) == 8


def test_names_that_no_client_can_ask_for_are_left_out(folder, caplog):
    (folder / "T1 10:30.nii.gz").write_bytes(b"x")
    assert set(opened(folder).list_images()) == {"one", "two", "ward/three"}
    assert "1 volumes are left out" in caplog.text
    assert "10:30" not in caplog.text


# --- watching


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def watched(folder):
    store = StudiesFolder(folder)
    yield store
    store.watcher.stop()


def test_what_comes_and_goes_at_any_depth_is_seen(watched, folder, tmp_path):
    (folder / "ward/deep").mkdir()
    (folder / "ward/deep/new.nii.gz").write_bytes(b"x")
    assert until(lambda: "ward/deep/new" in watched.list_images())
    (folder / "ward/three.nii.gz").unlink()
    assert until(lambda: "ward/three" not in watched.list_images())
    (tmp_path / "outside/secret.nii.gz").rename(folder / "ward/moved.nii.gz")
    assert until(lambda: "ward/moved" in watched.list_images())
    (folder / "ward/deep").rename(tmp_path / "outside/deep")
    assert until(lambda: "ward/deep/new" not in watched.list_images())
    (folder / "labels/final/ward").mkdir()
    (folder / "labels/final/ward/moved.nii.gz").write_bytes(b"x")
    assert until(lambda: watched.get_labeled_images() == ["ward/moved"])


def test_many_changes_are_looked_through_once(watched, folder, monkeypatch):
    seen = []
    changed = watched.watcher.changed
    monkeypatch.setattr(watched.watcher, "changed", lambda: (changed(), seen.append(len(watched.list_images()))))
    for number in range(60):
        (folder / f"ward/{number}.nii.gz").write_bytes(b"x")
    assert until(lambda: 63 in seen)
    time.sleep(2 * QUIET)
    assert len(seen) <= 3  # own writes of the list are a change, too, but end


def test_what_was_removed_is_not_listed_any_more(watched):
    watched.remove_image("ward/three")
    assert "ward/three" not in watched.list_images()


# --- many volumes, many threads, no room to write


def test_refreshing_grows_as_the_number_of_volumes(tmp_path, monkeypatch):
    """Names are compared with the list a few times each, not with every other name."""
    compared = []

    class Name(str):
        __slots__ = ()

        def __eq__(self, other):
            compared.append(1)
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    (tmp_path / "a.nii").write_bytes(b"x")
    store = opened(tmp_path)
    names = [Name(f"v{k:04d}.nii") for k in range(400)]
    for name in names:
        (tmp_path / str(name)).touch()
    monkeypatch.setattr(store, "_to_id", lambda file: (Name(file.removesuffix(".nii")), ".nii"))
    store.refresh()
    store.refresh()
    assert len(store.list_images()) == 401
    assert len(compared) < 40 * 401


def test_the_list_is_whole_in_every_thread(folder):
    class Slow(dict):
        def clear(self):  # as MONAI Label does before it fills the list again
            super().clear()
            time.sleep(0.01)

    store = opened(folder)
    store._datastore.objects = Slow(store._datastore.objects)
    ended, missing = threading.Event(), []

    def look():
        while not ended.is_set():
            try:
                store.get_image_uri("one")
                missing.extend([1] if len(store.list_images()) != 3 or store.status()["total"] != 3 else [])
            except Exception as error:
                missing.append(error)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(5):
        store.refresh()
    ended.set()
    for looker in lookers:
        looker.join()
    assert not missing


def test_two_uploads_under_one_name_at_once_are_one_image(folder, upload):
    store = opened(folder)
    outcomes = []

    def add(number):
        try:
            outcomes.append(store.add_image("new", upload(f"{number}.nii.gz", bytes([number])), {}))
        except InputError as error:
            outcomes.append(error)

    adders = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    assert outcomes.count("new") == 1
    assert len(outcomes) == 8


def test_a_folder_that_cannot_be_written_is_told(folder, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", refused)
        with pytest.raises(InputError, match="cannot be written"):
            check_studies(folder)
    check_studies(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "makedirs", refused)
        with pytest.raises(InputError, match="cannot be written"):
            opened(folder)
    store = opened(folder)
    monkeypatch.setattr(within.Path, "mkdir", refused)
    with pytest.raises(InputError, match="cannot be written"):
        store.add_image("new/one", __file__.removesuffix(".py") + ".nii", {})
