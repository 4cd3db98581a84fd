import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader
from monai.transforms import Compose, MapTransform, RandAffined, RandFlipd, RandGaussianNoised

from medtrans.cohorts import EpochDataset, EpochSampler


class Global(MapTransform):
    """Draws from the global random numbers, as transforms of other libraries do."""

    def __call__(self, item):
        return item | {"drawn": torch.rand(2) + float(np.random.rand())}


def dataset(size=11, seed=3):
    items = [{"source": torch.full((1, 8, 8), float(i)) + torch.arange(8.0), "index": i} for i in range(size)]
    keys = ["source"]
    random = [
        RandFlipd(keys, prob=0.5, spatial_axis=0),
        Compose([RandAffined(keys, prob=0.8, rotate_range=0.3, padding_mode="border")]),
        RandGaussianNoised(keys, prob=0.7),
        Global(keys),
    ]
    return EpochDataset(items, random, seed=seed)


def stream(epochs, workers, persistent=False, start=0, batch=2):
    """Bytes of all batches of ``epochs``; the first of them begins at ``start``."""
    data = dataset()
    sampler = EpochSampler(data, seed=5)
    loader = DataLoader(
        data, batch_size=batch, sampler=sampler, num_workers=workers, persistent_workers=persistent, drop_last=True
    )
    found = []
    for number, epoch in enumerate(epochs):
        sampler.set_epoch(epoch, start if number == 0 else 0)
        for content in loader:
            found.append(
                (epoch, content["index"].tolist(), content["source"].numpy().tobytes(), content["drawn"].tolist())
            )
    return found


@pytest.mark.parametrize(("workers", "persistent"), [(1, False), (2, False), (2, True)])
def test_the_stream_is_bit_identical_for_any_workers(workers, persistent):
    assert stream([1, 2], workers, persistent) == stream([1, 2], 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_taken_up_in_its_middle_goes_on_as_it_would_have(workers):
    whole = stream([1, 2], 0)
    assert stream([1, 2], workers, start=4) == whole[2:]


def test_epochs_differ_and_seeds_differ():
    data = dataset()
    assert not torch.equal(data[0, 3]["source"], data[1, 3]["source"])
    assert not torch.equal(data[0, 3]["source"], dataset(seed=4)[0, 3]["source"])
    assert torch.equal(data[7, 3]["source"], dataset()[7, 3]["source"])


@given(before=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10)), max_size=4))
@settings(deadline=None, max_examples=10)
def test_what_was_read_before_does_not_matter(before):
    data = dataset()
    torch.manual_seed(len(before))
    for index in before:
        data[index]
    item = data[2, 6]
    assert torch.equal(item["source"], dataset()[2, 6]["source"])
    assert torch.equal(item["drawn"], dataset()[2, 6]["drawn"])


def test_reading_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    dataset()[0, 0]
    assert (torch.rand(1), np.random.rand()) == expected


def test_a_plain_index_is_epoch_zero_and_slices_are_subsets():
    data = dataset()
    assert torch.equal(data[4]["source"], data[0, 4]["source"])
    assert torch.equal(data[-1]["source"], data[0, 10]["source"])
    assert [item["index"] for item in data[2:5]] == [2, 3, 4]
    with pytest.raises(IndexError):
        data[11]


def test_items_hold_plain_tensors_unless_asked():
    assert type(dataset()[0]["source"]) is torch.Tensor
    kept = EpochDataset(dataset().data, dataset().transform, track_meta=True)
    assert type(kept[0]["source"]).__name__ == "MetaTensor"


@given(size=st.integers(1, 40), world=st.integers(1, 7), epoch=st.integers(0, 3))
def test_ranks_share_a_permutation_equally(size, world, epoch):
    drawn = []
    for rank in range(world):
        sampler = EpochSampler(size, seed=1, rank=rank, world_size=world)
        sampler.set_epoch(epoch)
        mine = list(sampler)
        assert len(mine) == len(sampler) == -(-size // world)
        assert {e for e, _ in mine} == {epoch}
        drawn += [index for _, index in mine]
    assert set(drawn) == set(range(size))
    assert len(drawn) - size < world


def test_the_order_changes_with_the_epoch_and_not_without_shuffle():
    sampler, ordered = EpochSampler(50, seed=1), EpochSampler(50, shuffle=False)
    first = [index for _, index in sampler]
    assert first == [index for _, index in EpochSampler(50, seed=1)]
    sampler.set_epoch(1)
    assert [index for _, index in sampler] != first
    assert [index for _, index in ordered] == list(range(50))


def test_the_length_is_the_whole_epochs_wherever_it_begins():
    sampler = EpochSampler(9, rank=1, world_size=2)
    whole = list(sampler)
    sampler.set_epoch(0, start=3)
    assert list(sampler) == whole[3:]
    assert len(sampler) == 5


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="rank"):
        EpochSampler(3, rank=2, world_size=2)
    with pytest.raises(ValueError, match="nothing to draw"):
        EpochSampler(0)
    with pytest.raises(ValueError, match="cannot begin"):
        EpochSampler(3).set_epoch(0, start=4)
