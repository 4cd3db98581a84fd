"""Studies and target volumes as clients list, add, fetch and remove them."""

import shutil
import time

import pytest


def test_studies_are_listed_and_come_back_byte_by_byte(server, studies):
    listed = server.ask("GET", "/datastore/?output=all").json()["objects"]
    assert {"one", "two", "ward/three"} <= set(listed)
    sent = server.ask("GET", "/datastore/image", params={"image": "ward/three"}).content
    assert sent == (studies / "ward/three.nii.gz").read_bytes()
    assert server.ask("HEAD", "/datastore/image?image=ward/three").status_code == 200
    assert server.ask("HEAD", "/datastore/image?image=ward/nobody").status_code == 404


def test_a_study_and_its_target_are_added_fetched_and_removed(server, studies):
    volume = (studies / "one.nii.gz").read_bytes()
    told = {"params": '{"subject": "p7"}'}
    added = server.ask("PUT", "/datastore/image?image=new", files={"file": ("new.nii.gz", volume)}, data=told)
    assert added.json() == {"image": "new"}
    kept = server.ask("PUT", "/datastore/label?image=new&tag=final", files={"label": ("t2.nii.gz", volume)})
    assert kept.json()["label"] == "new"
    assert server.ask("GET", "/datastore/label?label=new&tag=final").content == volume
    pairs = server.ask("GET", "/datastore/?output=train").json()
    assert [set(entry) for entry in pairs if entry["image"].endswith("/new.nii.gz")] == [{"image", "label"}]
    assert server.ask("DELETE", "/datastore/image?id=new").status_code == 200
    assert not (studies / "new.nii.gz").exists()
    assert not (studies / "labels/final/new.nii.gz").exists()


def test_a_study_is_never_replaced(server, studies):
    before = (studies / "one.nii.gz").read_bytes()
    answer = server.ask("PUT", "/datastore/image?image=one", files={"file": ("x.nii.gz", b"other")})
    assert answer.status_code == 400
    assert "is there already" in answer.json()["detail"]
    assert (studies / "one.nii.gz").read_bytes() == before


def test_targets_are_never_replaced_by_images(server, studies):
    for name in ("labels/final/one", "Labels/final/one", "ONE"):
        answer = server.ask("PUT", "/datastore/image", params={"image": name}, files={"file": ("x.nii.gz", b"other")})
        assert answer.status_code == 400, answer.text


def test_a_study_that_comes_into_a_sub_folder_is_seen_and_gone_when_it_is_removed(server, studies):
    shutil.copy(studies / "one.nii.gz", studies / "ward/late.nii.gz")
    try:
        for _ in range(100):
            if "ward/late" in server.ask("GET", "/datastore/?output=all").json()["objects"]:
                break
            time.sleep(0.1)
        assert server.ask("DELETE", "/datastore/image?id=ward/late").status_code == 200
        assert "ward/late" not in server.ask("GET", "/datastore/?output=all").json()["objects"]
    finally:
        (studies / "ward/late.nii.gz").unlink(missing_ok=True)


def test_the_next_study_without_a_target_is_proposed(server):
    assert server.ask("POST", "/activelearning/first", json={}).json()["id"] in ("one", "two", "ward/three")


@pytest.mark.parametrize("name", ["x.exe", "x.py", "x"])
def test_files_that_are_no_volumes_are_refused(server, name):
    answer = server.ask("PUT", "/datastore/image?image=code", files={"file": (name, b"import os")})
    assert answer.status_code == 400


def test_what_is_known_of_a_study_says_not_where_it_lies(server, studies):
    known = server.ask("GET", "/datastore/image/info?image=ward/three")
    assert known.json()["name"] == "ward/three.nii.gz"
    assert str(studies) not in known.text
