import errno
import logging
import os
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.cohorts import Case, Cases, slice_items, volume_items
from medtrans.cohorts.foreground import CACHE_NAME, slice_foreground
from medtrans.transforms import Window

SHAPE = (10, 12, 8)
CT, MR = Window(-1024, 2000, "HU"), Window(0, 100)


def saved(path, values, affine=None):
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def data_set(root, subjects=3, modalities=("T1", "CT"), mask=True, splits=("train", "validation", "test")):
    """Bodies that fill 0, 1, … rows of the axial slices 0, 1, …, and 3 columns of the coronal direction."""
    cases = []
    for i in range(subjects):
        body = np.zeros(SHAPE, bool)
        for k in range(SHAPE[2]):
            body[:k, :3, k] = True
        volumes = {}
        for modality in modalities:
            inside, outside = (40, -1024) if modality == "CT" else (60, 0)
            volumes[modality] = saved(root / f"s{i}_{modality}.nii", np.where(body, inside, outside).astype(np.float32))
        where = saved(root / f"s{i}_mask.nii", body.astype(np.uint8)) if mask else None
        windows = {m: CT if m == "CT" else MR for m in modalities}
        cases.append(Case(f"s{i}", f"s{i}", splits[i % len(splits)], volumes, windows, where, None, (1, 1, 1), SHAPE))
    Cases(root, tuple(cases)).write()
    return root


def test_items_say_what_a_training_needs(tmp_path):
    items = slice_items(data_set(tmp_path), "T1", ["CT"], minimum_foreground=0.0)
    assert len(items) == SHAPE[2]
    assert items[3] == {
        "case": "s0",
        "source": [str(tmp_path / "s0_T1.nii")],
        "target": [str(tmp_path / "s0_CT.nii")],
        "mask": str(tmp_path / "s0_mask.nii"),
        "axis": 2,
        "index": 3,
        "windows": {"source": [[0, 100, ""]], "target": [[-1024, 2000, "HU"]]},
        "spacing": [1.0, 1.0, 1.0],
    }


def labelled(root, shape=SHAPE):
    """A data set whose cases have label maps."""
    cases = list(Cases.read(data_set(root)))
    for case in cases:
        saved(root / f"{case.name}_label.nii", np.ones(shape, np.uint8))
    Cases(root, tuple(replace(case, label=root / f"{case.name}_label.nii") for case in cases)).write()
    return root


def test_items_name_the_label_map_where_it_is_asked_for(tmp_path):
    root = labelled(tmp_path)
    assert slice_items(root, "T1", "CT", label=True)[0]["label"] == str(root / "s0_label.nii")
    assert volume_items(root, "T1", "CT", "all", label=True)[1]["label"] == str(root / "s1_label.nii")
    assert "label" not in slice_items(root, "T1", "CT")[0]


def test_a_label_map_that_is_missing_or_on_another_grid_is_refused(tmp_path):
    for folder in ("without", "small"):
        (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match="case s0: has no label map"):
        slice_items(data_set(tmp_path / "without"), "T1", "CT", label=True)
    small = labelled(tmp_path / "small", (10, 12, 7))
    with pytest.raises(InputError, match=r"s0_label\.nii: is not on the grid"):
        slice_items(small, "T1", "CT", label=True)
    assert slice_items(small, "T1", "CT")


def test_items_say_the_voxel_sizes_of_the_files_whatever_the_table_says(tmp_path):
    root = data_set(tmp_path)
    for name in ("T1", "CT", "mask"):
        path = root / f"s0_{name}.nii"
        saved(path, np.array(nibabel.load(path).dataobj), np.diag([0.5, 2, 3, 1]))
    assert slice_items(root, "T1", "CT")[0]["spacing"] == [0.5, 2, 3]
    assert volume_items(root, "T1", "CT", "train")[0]["spacing"] == [0.5, 2, 3]


def test_companions_are_named_where_a_case_has_them_and_must_lie_on_its_grid(tmp_path):
    root = data_set(tmp_path, modalities=("T1", "T2", "CT"), splits=("train",))
    first, second, third = Cases.read(root)
    without = replace(second, volumes={"T1": second.volumes["T1"], "T2": second.volumes["T2"]})
    Cases(root, (first, without, third)).write()
    items = volume_items(root, "T1", "T2", "train", companions=["CT"])
    assert [item.get("CT") for item in items] == [str(root / "s0_CT.nii"), None, str(root / "s2_CT.nii")]
    assert slice_items(root, "T1", "T2", companions="CT")[0]["CT"] == str(root / "s0_CT.nii")
    saved(root / "s0_CT.nii", np.zeros(SHAPE, np.float32), np.diag([2, 1, 1, 1]))
    with pytest.raises(InputError, match=r"s0_CT\.nii: is not on the grid"):
        slice_items(root, "T1", "T2", companions="CT")


def test_several_modalities_become_channels(tmp_path):
    item = slice_items(data_set(tmp_path, modalities=("T1", "T2", "CT")), ["T2", "T1"], "CT")[0]
    assert [os.path.basename(path) for path in item["source"]] == ["s0_T2.nii", "s0_T1.nii"]
    assert len(item["windows"]["source"]) == 2


@pytest.mark.parametrize("mask", [True, False])
def test_slices_with_too_little_body_are_left_out(tmp_path, mask):
    data_set(tmp_path, mask=mask)
    share = np.arange(SHAPE[2]) * 3 / (SHAPE[0] * SHAPE[1])
    for minimum in (0.02, 0.06, 0.1):
        kept = [item["index"] for item in slice_items(tmp_path, "CT", "T1", minimum_foreground=minimum)]
        assert kept == list(np.flatnonzero(share >= minimum))
    coronal = slice_items(tmp_path, "CT", "T1", axis="coronal")
    assert [item["index"] for item in coronal] == [0, 1, 2]
    assert {item["axis"] for item in coronal} == {1}


@given(every=st.integers(1, 9))
@settings(deadline=None, max_examples=9)
def test_every_keeps_a_slice_in_so_many(tmp_path_factory, every):
    root = data_set(tmp_path_factory.mktemp("a"), subjects=1)
    indices = [item["index"] for item in slice_items(root, "T1", "CT", minimum_foreground=0, every=every)]
    assert indices == list(range(0, SHAPE[2], every))


def test_the_profile_is_measured_once_and_again_when_a_mask_changes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data_set(tmp_path)

    def measured():
        caplog.clear()
        found = slice_items(tmp_path, "T1", "CT", "all")
        return len(found), sum("measuring the foreground" in record.message for record in caplog.records)

    assert measured()[1] == 1
    first, again = measured()
    assert again == 0
    saved(tmp_path / "s1_mask.nii", np.ones(SHAPE, np.uint8))
    os.utime(tmp_path / "s1_mask.nii", ns=(1, 1))
    assert measured() == (first + 1, 1)
    (tmp_path / CACHE_NAME).write_bytes(b"no archive")
    assert measured() == (first + 1, 2)  # one line tells that the cache was not readable


def test_a_data_set_may_move_and_may_be_read_only(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    expected = len(slice_items(data_set(tmp_path / "a"), "T1", "CT"))
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert len(slice_items(tmp_path / "b", "T1", "CT")) == expected
    (tmp_path / "b" / CACHE_NAME).unlink()

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("medtrans.files.os.replace", read_only)
    assert len(slice_items(tmp_path / "b", "T1", "CT")) == expected
    assert not (tmp_path / "b" / CACHE_NAME).exists()


def test_volumes_are_listed_with_or_without_target(tmp_path):
    data_set(tmp_path)
    with_target = volume_items(tmp_path, "T1", "CT", split="all")
    assert [item["case"] for item in with_target] == ["s0", "s1", "s2"]
    assert "index" not in with_target[0]
    assert with_target[0]["target"] == [str(tmp_path / "s0_CT.nii")]
    alone = volume_items(tmp_path, "T1")
    assert [item["case"] for item in alone] == ["s2"]
    assert "target" not in alone[0]
    assert list(alone[0]["windows"]) == ["source"]


def test_an_unknown_modality_is_refused_and_the_known_ones_listed(tmp_path):
    data_set(tmp_path)
    for function in (slice_items, volume_items):
        with pytest.raises(InputError, match=r"has no modality 'PET'.*It has T1, CT"):
            function(tmp_path, "PET", "CT")


def test_cases_that_lack_a_modality_are_named_or_skipped(tmp_path):
    data_set(tmp_path, splits=("train",))
    cases = list(Cases.read(tmp_path))
    lacking = Case("s1", "s1", "train", {"CT": cases[1].volumes["CT"]}, {"CT": CT}, cases[1].mask)
    Cases(tmp_path, (cases[0], lacking, cases[2])).write()
    with pytest.raises(InputError, match=r"s1 \(T1\)"):
        slice_items(tmp_path, "T1", "CT")
    assert {item["case"] for item in slice_items(tmp_path, "T1", "CT", missing="skip")} == {"s0", "s2"}
    assert len(volume_items(tmp_path, "T1", "CT", split="train", missing="skip")) == 2


def test_what_leaves_nothing_to_train_on_is_refused(tmp_path):
    data_set(tmp_path, subjects=1)
    for problem, options in [
        ("no case in the test split", {"split": "test"}),
        ("split 'trian'", {"split": "trian"}),
        ("no slice with 90% foreground", {"minimum_foreground": 0.9}),
        ("out of range", {"every": 0}),
        ("out of range", {"minimum_foreground": 2.0}),
        ("axis 'z'", {"axis": "z"}),
        ("missing='drop'", {"missing": "drop"}),
    ]:
        with pytest.raises(InputError, match=problem):
            slice_items(tmp_path, "T1", "CT", **options)


def test_volumes_of_a_case_must_share_a_grid_in_ras_order(tmp_path):
    data_set(tmp_path, subjects=1)
    values = nibabel.load(tmp_path / "s0_CT.nii").get_fdata().astype(np.float32)
    moved = np.eye(4)
    moved[0, 3] = 5
    saved(tmp_path / "s0_CT.nii", values, moved)
    with pytest.raises(InputError, match=r"s0_CT.nii: is not on the grid of s0_T1.nii"):
        slice_items(tmp_path, "T1", "CT")
    for modality in ("T1", "CT", "mask"):
        saved(tmp_path / f"s0_{modality}.nii", values, np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(InputError, match="not stored in RAS order"):
        slice_items(tmp_path, "T1", "CT")


def test_the_share_of_foreground_is_that_of_every_slice(tmp_path):
    inside = np.random.default_rng(0).random((5, 6, 7)) > 0.7
    path = saved(tmp_path / "mask.nii", inside.astype(np.uint8))
    for axis, shares in enumerate(slice_foreground(path, 0.0)):
        np.testing.assert_allclose(shares, inside.mean(axis=tuple({0, 1, 2} - {axis})))
