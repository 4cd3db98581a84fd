"""Pairs become cases under names that say nothing, and one subject stays one subject."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medtrans import InputError
from medtrans.cohorts.volumes import read_volume
from medtrans.label.pairs import arrange, paired_cases


@pytest.fixture
def studies(tmp_path):
    """``studies(name, **sidecar)``: a pair of volumes of its own, with a sidecar beside the image if there is any."""

    def pair(name, ending=".nii.gz", **sidecar):
        made = {}
        for number, key in enumerate(("image", "label")):
            made[key] = tmp_path / "studies" / key / f"{name}{ending}"
            made[key].parent.mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng([len(name), number]).normal(size=(4, 5, 6)).astype(np.float32)
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(made[key]))
        if sidecar:
            (made["image"].parent / f"{name}.json").write_text(json.dumps(sidecar))
        return {key: str(path) for key, path in made.items()}

    return pair


def test_names_are_short_hashes_that_do_not_change(studies):
    pairs = [studies("Doe^Jane"), studies("Roe^John")]
    first, second = paired_cases(pairs)
    assert paired_cases(pairs[::-1]) == [first, second]
    for case in (first, second):
        assert re.fullmatch("[0-9a-f]{10}_[0-9a-f]{10}", case.name)
    assert first.subject != second.subject


@pytest.mark.parametrize("who", ["sidecar", "datastore"])
def test_two_studies_of_a_patient_are_one_subject(who, studies):
    if who == "sidecar":
        pairs = [studies("one", patient="P7"), studies("two", patient="P7"), studies("three", patient="P8")]
    else:
        pairs = [studies(name) | {"subject": person} for name, person in (("one", 7), ("two", 7), ("three", 8))]
    cases = {case.session: case for case in paired_cases(pairs)}
    assert len(cases) == 3
    assert sorted(np.unique([case.subject for case in cases.values()], return_counts=True)[1]) == [1, 2]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".NII.GZ"])
def test_the_links_lead_to_the_volumes_and_their_sidecar(ending, studies, tmp_path):
    pair = studies("x", ending.lower(), unit="HU")
    given = {key: Path(path).rename(path[: -len(ending)] + ending) for key, path in pair.items()}
    [case] = paired_cases([given])
    arrange([case], tmp_path / "arranged")
    place = tmp_path / "arranged" / case.subject / case.session
    names = {"image": f"SOURCE{ending.lower()}", "label": f"TARGET{ending.lower()}"}
    assert {path.name for path in place.iterdir()} == {*names.values(), "SOURCE.json"}
    for key, name in names.items():
        assert (place / name).read_bytes() == given[key].read_bytes()
        assert read_volume(place / name).values.shape == (6, 5, 4)
    assert json.loads((place / "SOURCE.json").read_text())["unit"] == "HU"


def test_without_links_there_are_copies(studies, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.symlink", refused)
    [case] = paired_cases([studies("x")])
    arrange([case], tmp_path / "arranged")
    place = tmp_path / "arranged" / case.subject / case.session / "SOURCE.nii.gz"
    assert not place.is_symlink()
    assert place.stat().st_mtime_ns == case.volumes["image"].stat().st_mtime_ns  # so that it counts as the same file
    assert place.read_bytes() == case.volumes["image"].read_bytes()


def test_the_stamp_changes_with_each_file(studies):
    pair = studies("x", patient="P7")
    stamps = {str(paired_cases([pair])[0].stamp())}
    for path in (pair["image"], pair["label"], pair["image"].replace(".nii.gz", ".json")):
        with open(path, "ab") as file:
            file.write(b" ")
        stamps.add(str(paired_cases([pair])[0].stamp()))
    assert len(stamps) == 4


def test_what_cannot_be_used_says_why(studies, tmp_path):
    pair = studies("x")
    reasons = {
        "label": ("the target does not exist", str(tmp_path / "gone.nii")),
        "image": ("the source is no NIfTI, NRRD or MetaImage volume", str(tmp_path / "picture.png")),
    }
    for key, (reason, path) in reasons.items():
        assert paired_cases([pair | {key: path}])[0].problem == reason
    assert not paired_cases([pair])[0].problem
    with pytest.raises(InputError, match="lacks its image or its label"):
        paired_cases([{"image": pair["image"]}])
