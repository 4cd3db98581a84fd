"""A task's file says the same to a training and to `medtrans simulate`; its degradation is a function of the seed."""

import json

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from medtrans import InputError
from medtrans.cohorts import EpochDataset
from medtrans.cohorts.tasks import Task, image_of, settings_of
from medtrans.transforms import ReadVolumesd

VALUES = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
AFFINE = np.diag([0.5, 2.0, 3.0, 1.0])


@pytest.fixture(scope="module")
def task(louder_task):
    return Task.read(louder_task)


def written(path, **content):
    path.write_text(json.dumps(content))
    return path


def test_a_task_names_the_modality_before_and_after(louder_task):
    task = Task.read(louder_task, {"target": "FLAIR"})
    assert (task.name, task.source, task.degraded, task.companions) == ("louder", "FLAIR", "FLAIR-loud", ("CT",))
    assert task.record["target"] == "FLAIR"


def test_of_the_settings_of_a_training_a_task_has_some(louder_task):
    its_own = {"target": "T2", "gain": 2, "train#degradation#0#failing": 3, "phantom::modalities": ["T2"]}
    others = {"max_epochs": 3, "losses::style::weight": 0, "train#degradation#3#gain": 2}
    assert settings_of(louder_task, {**others, **its_own}) == its_own
    Task.read(louder_task, its_own)


def test_a_setting_reaches_the_degradation_and_its_record(louder_task):
    by_name = Task.read(louder_task, {"gain": 2})
    by_place = Task.read(louder_task, {"train#degradation#0#gain": 2})
    for task in (by_name, by_place):
        (made, (record,)) = task.degrade(image_of(VALUES, AFFINE), seed=0)["T1-loud"]
        np.testing.assert_allclose(made[0], 2 * VALUES)
        assert record == {
            "degradation": "Louder",
            "parameters": {"gain": 2.0, "spacing": [0.5, 2.0, 3.0], "companions": []},
        }


def test_the_same_seed_makes_the_same_image_whatever_was_made_before(task):
    image = image_of(VALUES, AFFINE)
    first, records = task.degrade(image, seed=7)["T1-loud"]
    other = task.degrade(image, seed=8)["T1-loud"].image
    again, same = task.degrade(image, seed=7)["T1-loud"]
    assert torch.equal(first, again)
    assert records == same
    assert not torch.equal(first, other)
    assert torch.equal(image.as_tensor()[0], torch.from_numpy(VALUES))


def test_global_random_numbers_go_on_as_before(task):
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(1)
    np.random.seed(1)
    task.degrade(image_of(VALUES, AFFINE), seed=3)
    assert (torch.rand(1), np.random.rand()) == expected


def test_companions_are_handed_over_by_the_names_of_their_modalities(louder_task):
    task = Task.read(louder_task, {"gain": 1})
    made = task.degrade(image_of(VALUES, AFFINE), 0, {"CT": image_of(VALUES * 0 + 5, AFFINE)})
    np.testing.assert_allclose(made["T1-loud"].image[0], VALUES + 5)


def test_a_degradation_may_make_the_reference_too(louder_task):
    copied = {"_target_": "CopyItemsd", "keys": "source", "names": "target"}
    deleted = {"_target_": "DeleteItemsd", "keys": "target"}
    louder = {"_target_": "tiny_degradation.Louderd", "keys": "source", "gain": 2}
    task = Task.read(
        louder_task, {"train::degradation": [louder, deleted, copied, louder], "target_name": "T1-reference"}
    )
    assert task.makes == ("T1-loud", "T1-reference")
    made = task.degrade(image_of(VALUES, AFFINE), 0)
    np.testing.assert_allclose(made["T1-reference"].image[0], 2 * VALUES)
    np.testing.assert_allclose(made["T1-loud"].image[0], 4 * VALUES)
    assert [len(one.degradations) for one in made.values()] == [2, 1]


def test_training_and_simulating_make_the_same_image_of_the_same_seed(task, tmp_path):
    """The chain of a training's item, of which the task's is the middle."""
    from medtrans.cohorts.epochs import seed_of
    from medtrans.cohorts.nifti import write_nifti

    path = write_nifti(tmp_path / "T1.nii", VALUES, AFFINE)
    chain = Compose([ReadVolumesd("source"), *task.chain.transforms])
    item = {"source": str(path), "spacing": [0.5, 2.0, 3.0]}
    trained = EpochDataset([item], chain, seed=4, track_meta=True)[2, 0]["source"]
    made, records = task.degrade(image_of(VALUES, AFFINE), seed_of(4, 2, 0))["T1-loud"]
    assert torch.equal(trained.as_tensor(), made)
    assert trained.meta["degradations"] == records


def test_what_comes_out_without_contrast_or_not_finite_is_refused(louder_task):
    with pytest.raises(ValueError, match="show nothing"):
        Task.read(louder_task, {"gain": 0}).degrade(image_of(VALUES, AFFINE), 0)
    with pytest.raises(ValueError, match="not finite"):
        Task.read(louder_task, {"gain": 1e39}).degrade(image_of(VALUES, AFFINE), 0)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"gian": 2}, r"louder\.json \(gian\): does not exist in the task\. It has target, source"),
        ({"train#degradation#3#gain": 2}, "does not exist in the task"),
        ({"gain": [3, 1]}, "a range goes from its lowest"),
        ({"train#degradation#0#gian": 2}, "gian"),
        ({"source_name": "T1"}, "as the clean modality"),
        ({"source_name": "mask"}, "no possible name"),
        ({"source_name": "a/b"}, "no possible name"),
        ({"source": ["T1", "T2"]}, "source"),
        ({"train::degradation": []}, "no list of transforms"),
        ({"train::degradation": [{"keys": "source"}]}, "no list of transforms"),
    ],
)
def test_what_is_no_task_is_refused_with_the_reason(louder_task, overrides, problem):
    with pytest.raises(InputError, match=problem):
        Task.read(louder_task, overrides)


def test_a_file_that_is_no_task_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.json: does not exist"):
        Task.read(tmp_path / "no.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="not a readable config"):
        Task.read(tmp_path / "broken.json")
    with pytest.raises(InputError, match="It needs source, source_name and train::degradation"):
        Task.read(written(tmp_path / "other.json", source="T1"))
