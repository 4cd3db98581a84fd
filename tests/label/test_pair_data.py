"""Pairs as a data set: what an earlier training prepared is taken over, but not for a target that has been replaced."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medtrans.label import pair_data
from medtrans.label.pair_data import prepare_pairs
from medtrans.label.pair_recipe import given_recipe
from medtrans.label.pairs import paired_cases


@pytest.fixture(scope="module")
def recipe(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "coarse.json"
    content = json.loads((root / "data_prep/t1_t2.json").read_text()) | {
        "spacing": [12, 12, 12],
        "size": [16, 16, None],
    }
    path.write_text(json.dumps(content))
    return given_recipe(path, [("T1", "T2")])


@pytest.fixture
def own(pairs, tmp_path):
    """Three pairs that may be written to."""
    (tmp_path / "studies/labels").mkdir(parents=True)
    found = []
    for pair in pairs[:3]:
        places = {"image": tmp_path / "studies", "label": tmp_path / "studies/labels"}
        found.append({key: shutil.copy(pair[key], place) for key, place in places.items()})
    return found


def test_a_target_that_was_drawn_over_after_a_training_is_no_image_in_the_next(own, recipe, tmp_path):
    assert prepare_pairs(paired_cases(own), recipe, tmp_path / "work/first", 0.3, workers=1).failed == []
    image = nibabel.load(own[0]["label"])
    values = np.asarray(image.dataobj)
    drawn = nibabel.Nifti1Image((values > np.median(values)).astype(np.uint8), image.affine)
    nibabel.save(drawn, own[0]["label"])
    data = prepare_pairs(paired_cases(own), recipe, tmp_path / "work/second", 0.3, workers=1)
    [failed] = data.failed
    assert failed["case"] == paired_cases(own[:1])[0].name
    assert failed["reason"] == "the target is a map of labels (2 values), not an image"
    assert data.training_subjects + data.validation_subjects == 2


def test_targets_that_were_found_to_be_images_are_not_read_again(own, recipe, tmp_path, monkeypatch):
    prepare_pairs(paired_cases(own[:2]), recipe, tmp_path / "work/first", 0.3, workers=1)
    read, seen = pair_data.read_volume, []
    monkeypatch.setattr(pair_data, "read_volume", lambda path: seen.append(path) or read(path))
    data = prepare_pairs(paired_cases(own), recipe, tmp_path / "work/second", 0.3, workers=1)
    assert (data.training_subjects + data.validation_subjects, data.failed) == (3, [])
    assert seen == [Path(own[2]["label"])]
