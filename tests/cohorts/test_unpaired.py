"""Unpaired slices and volumes: no subject meets itself; heights match on request; draws are functions."""

from collections import Counter

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrans import InputError
from medtrans.cohorts import (
    Case,
    Cases,
    EpochSampler,
    SideBySide,
    UnpairedDataset,
    domain_slice_items,
    domain_volume_items,
)
from medtrans.transforms import ReadSlicesd, ReadVolumesd, Window


def domain(subjects, slices, axis=2):
    """Items as :func:`domain_slice_items` lists them, without files."""
    return [
        {
            "case": f"{subject}-scan",
            "subject": subject,
            "paths": [f"{subject}.nii"],
            "windows": [[0.0, 1.0, ""]],
            "axis": axis,
            "index": k,
            "height": k / (slices - 1) if slices > 1 else 0.5,
        }
        for subject in subjects
        for k in range(slices)
    ]


def seen(dataset, epochs=3):
    return [dataset[epoch, index] for epoch in range(epochs) for index in range(len(dataset))]


def same(item):
    return item["case"]["source"] == item["case"]["target"]


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from("abcdefgh"), min_size=1),
    st.sets(st.sampled_from("abcdefgh"), min_size=1),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 10**6),
)
def test_no_subject_ever_meets_itself(sources, targets, depth, other_depth, seed):
    """One cohort or two, overlapping or not, of other numbers and sizes."""
    try:
        dataset = UnpairedDataset(domain(sorted(sources), depth), domain(sorted(targets), other_depth), seed=seed)
    except InputError:
        assert len(targets) == 1
        assert targets <= sources
        return
    assert len(dataset) == max(len(sources) * depth, len(targets) * other_depth)
    items = seen(dataset)
    assert not any(same(item) for item in items)
    assert {item["case"]["source"] for item in items} == {f"{subject}-scan" for subject in sources}


@pytest.mark.parametrize("kind", [UnpairedDataset, SideBySide])
def test_a_degradation_that_makes_the_target_would_make_pairs_and_is_refused(kind):
    from monai.transforms import Compose, CopyItemsd

    from medtrans.simulate import LowCountPETd

    sources, targets = domain("abc", 2), domain("def", 2)
    for maker in (LowCountPETd("source", reference_key="target"), CopyItemsd("source", names="target")):
        for transform in (maker, [maker], Compose([Compose([maker])])):
            with pytest.raises(InputError, match="makes the target from the source, which is a pair"):
                kind(sources, targets, transform)
    harmless = [LowCountPETd("source"), CopyItemsd("target", names="kept"), CopyItemsd("target", names="target")]
    assert len(kind(sources, targets, harmless)) == 6


@pytest.mark.parametrize("read", [ReadSlicesd, ReadVolumesd])
def test_companions_are_refused_as_they_are_not_read_without_pairs(read):
    with pytest.raises(InputError, match=r"CT: is not read without pairs\. Set --companions \[\]"):
        UnpairedDataset(domain("abc", 2), domain("def", 2), [read(["source", "target"], optional=["CT"])])
    assert len(UnpairedDataset(domain("abc", 2), domain("def", 2), [read(["source", "target"])])) == 6


def test_a_paired_listing_would_be_noticed():
    """The check above is not blind: in the order of a paired data set every item meets itself."""
    items = domain("abc", 4)
    paired = [{"case": {"source": a["case"], "target": b["case"]}} for a, b in zip(items, items, strict=True)]
    assert all(same(item) for item in paired)


def test_every_target_slice_is_used_and_about_equally_often():
    items = seen(UnpairedDataset(domain("abcd", 5), domain("abcd", 5)), epochs=200)
    counts = Counter((item["case"]["target"], item["index"]["target"]) for item in items)
    assert len(counts) == 20
    assert 140 < min(counts.values()) <= max(counts.values()) < 260


def test_the_larger_domain_sets_the_length_of_an_epoch():
    dataset = UnpairedDataset(domain("ab", 2), domain("cdefg", 3))
    assert len(dataset) == 15
    items = [dataset[0, index] for index in range(15)]
    counts = Counter((item["case"]["source"], item["index"]["source"]) for item in items)
    assert set(counts.values()) <= {3, 4}
    assert len(list(EpochSampler(dataset))) == 15


def test_draws_are_a_function_of_seed_epoch_and_index():
    def build(seed):
        return UnpairedDataset(domain("abcdef", 6), domain("abcdef", 6), seed=seed)

    one, other = build(3), build(3)
    for index in reversed(range(len(one))):  # another order of reading
        assert one[5, index] == other[5, index]
    assert [one[5, i] for i in range(36)] != [one[6, i] for i in range(36)]
    assert [one[5, i] for i in range(36)] != [build(4)[5, i] for i in range(36)]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.floats(0.1, 1.0))
def test_slices_of_similar_height_meet_on_request(depth, other_depth, position):
    sources, targets = domain("abc", depth), domain("bcd", other_depth)
    farthest = max(min(abs(s["height"] - t["height"]) for t in targets) for s in sources)
    if farthest > position + 1e-9:  # heights are fractions
        with pytest.raises(InputError, match="of its height"):
            UnpairedDataset(sources, targets, position=position)
        return
    for item in seen(UnpairedDataset(sources, targets, position=position)):
        source, target = item["index"]["source"] / (depth - 1), item["index"]["target"] / (other_depth - 1)
        assert abs(source - target) <= position + 1e-6
        assert not same(item)


def test_without_it_all_heights_meet():
    items = seen(UnpairedDataset(domain("ab", 9), domain("cd", 9)), epochs=20)
    differences = [item["index"]["source"] - item["index"]["target"] for item in items]
    assert min(differences) == -8
    assert max(differences) == 8


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_halved_leaves_each_subject_one_modality(count, seed):
    subjects = "abcdefghi"[:count]
    dataset = UnpairedDataset(domain(subjects, 2), domain(subjects, 3), seed=seed, halved=True)
    sources, targets = ({item["subject"] for item in part} for part in (dataset.data, dataset.targets))
    assert not sources & targets
    assert sources | targets == set(subjects)
    assert abs(len(sources) - len(targets)) <= 1


def test_halved_keeps_subjects_of_one_modality_where_they_are():
    dataset = UnpairedDataset(domain("abxy", 1), domain("abz", 1), halved=True)
    assert {"x", "y"} < {item["subject"] for item in dataset.data}
    assert "z" in {item["subject"] for item in dataset.targets}


@pytest.mark.parametrize(
    ("sources", "targets", "options", "message"),
    [
        (domain("a", 3), domain("a", 3), {}, "no target of another subject"),
        (domain("a", 3), domain("b", 3), {"position": 2.0}, "0 to 1"),
        (domain("a", 3), domain("b", 3, axis=1), {}, "the same axis"),
        (domain("a", 5), domain("b", 2), {"position": 0.1}, "within 0.1 of its height"),
        (domain("a", 3), domain("a", 3), {"halved": True}, "without a subject"),
    ],
)
def test_what_cannot_be_shuffled_is_refused(sources, targets, options, message):
    with pytest.raises(InputError, match=message):
        UnpairedDataset(sources, targets, **options)


def write(root, modality, subjects, shape, scale):
    """A data set whose voxels say who and where they are: scale · (10 · subject + slice)."""
    cases = []
    for number, subject in enumerate(subjects, 1):
        volume = np.broadcast_to(scale * (10 * number + np.arange(shape[2])), shape).astype(np.float32)
        folder = root / subject
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / f"{modality}.nii")
        nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), folder / "mask.nii")
        windows = {modality: Window(0.0, 100.0 * scale)}
        cases.append(
            Case(subject, subject, "train", {modality: folder / f"{modality}.nii"}, windows, folder / "mask.nii")
        )
    Cases(root, tuple(cases)).write()
    return root


def test_two_cohorts_of_other_subjects_sizes_and_numbers_are_read_together(tmp_path):
    mr = write(tmp_path / "mr", "T1", ["p1", "p2"], (6, 7, 5), 1.0)
    ct = write(tmp_path / "ct", "CT", ["q1", "q2", "q3"], (8, 4, 7), 10.0)
    sources, targets = domain_slice_items(mr, "T1"), domain_slice_items(ct, "CT")
    assert [item["height"] for item in sources[:5]] == [0, 0.25, 0.5, 0.75, 1]
    dataset = UnpairedDataset(sources, targets, transform=ReadSlicesd(["source", "target"]))
    assert len(dataset) == 21
    for index in range(21):
        item, entry = dataset[2, index], dataset.entry(2, index)
        subject = int(entry["case"]["source"][1]), int(entry["case"]["target"][1])
        assert item["source"].shape == (1, 6, 7)
        assert item["target"].shape == (1, 8, 4)
        assert (item["source"] == 10 * subject[0] + entry["index"]["source"]).all()
        assert (item["target"] == 10 * (10 * subject[1] + entry["index"]["target"])).all()
        assert item["windows"] == {"source": [[0.0, 100.0, ""]], "target": [[0.0, 1000.0, ""]]}


def test_cases_that_lack_the_modality_are_left_out(tmp_path):
    write(tmp_path / "mr", "T1", ["p1"], (4, 4, 3), 1.0)
    with pytest.raises(InputError, match="has no modality 'T2'"):
        domain_slice_items(tmp_path / "mr", "T2")


def volumes(subjects):
    """Items as :func:`domain_volume_items` lists them, without files."""
    slices_only = ("axis", "index", "height")
    return [{k: v for k, v in item.items() if k not in slices_only} for item in domain(subjects, 1)]


def test_volumes_of_one_subject_never_meet_either():
    dataset = UnpairedDataset(volumes("abc") * 4, volumes("abcd"), position=1.0)
    items = seen(dataset, epochs=5)
    assert len(dataset) == 12
    assert not any(same(item) for item in items)
    assert len({item["case"]["target"] for item in items}) == 4
    assert set(items[0]) == {"source", "target", "case", "windows"}
    with pytest.raises(InputError, match="is for slices, not for volumes"):
        UnpairedDataset(volumes("abc"), volumes("abc"), position=0.1)
    with pytest.raises(InputError, match=r"no target of another subject .case a-scan."):
        UnpairedDataset(volumes("a"), volumes("a"))


def test_volumes_of_two_cohorts_are_read_together(tmp_path):
    mr = write(tmp_path / "mr", "T1", ["p1", "p2"], (6, 7, 5), 1.0)
    ct = write(tmp_path / "ct", "CT", ["q1", "q2", "q3"], (8, 4, 7), 10.0)
    dataset = UnpairedDataset(
        domain_volume_items(mr, "T1"), domain_volume_items(ct, "CT"), transform=ReadVolumesd(["source", "target"])
    )
    assert len(dataset) == 3
    for index in range(3):
        item, case = dataset[1, index], dataset.entry(1, index)["case"]
        assert item["source"].shape == (1, 6, 7, 5)
        assert item["target"].shape == (1, 8, 4, 7)
        assert item["source"].min() == 10 * int(case["source"][1])
        assert item["target"].min() == 100 * int(case["target"][1])
        assert item["windows"]["target"] == [[0.0, 1000.0, ""]]


def test_a_validation_without_pairs_shows_each_slice_once_and_the_same_ones_in_every_epoch():
    sources, targets = domain(["a", "b"], 5), domain(["c", "d", "e"], 7)
    dataset = SideBySide(sources, targets, lambda item: item)
    shown = [[(e["case"], e["index"]) for e in map(dataset.entry, [epoch] * 10, range(10))] for epoch in (0, 3)]
    assert len(dataset) == 10
    assert shown[0] == shown[1]
    for name in ("source", "target"):
        slices = [(case[name], index[name]) for case, index in shown[0]]
        assert len(set(slices)) == 10
        assert len({case for case, _ in slices}) == (2 if name == "source" else 3)


def test_a_data_set_of_both_modalities_does_not_validate_on_its_own_pairs():
    same_people = domain(["a", "b"], 6)
    dataset = SideBySide(same_people, same_people, lambda item: item)
    for index in range(len(dataset)):
        case = dataset.entry(0, index)["case"]
        assert case["source"] != case["target"]
