"""Fill and age of image pools, against a pool simulated by hand."""

import pytest
import torch

from medtrans.engines.watches.pools import Pools
from medtrans.methods import ImagePool


def watched(**pools):
    watch = Pools()
    watch.attach(type("Trainer", (), {"method": type("Method", (), {"pools": pools})()})(), None)
    return watch


def test_a_pool_fills_and_ages_as_one_written_out():
    pool = ImagePool(4)
    watch = watched(target=pool)
    torch.manual_seed(3)
    draws = torch.Generator().manual_seed(3)
    held, made = [], 0
    for _ in range(9):
        images = torch.full((2, 1, 2, 2), float(made))
        chances = torch.rand(2, 2, generator=draws)
        pool.exchange(images)
        for chance, choice in chances.tolist():
            made += 1
            if len(held) < 4:
                held.append(made)
            elif chance >= 0.5:  # else the new image itself is given out
                held[int(choice * 4)] = made
        age = sum(made - born for born in held) / len(held)
        assert watch.values() == pytest.approx({"pool_target_fill": len(held) / 4, "pool_target_age": age})
    assert age > 2


def test_ages_survive_a_resume_and_a_checkpoint_from_before_ages_is_read():
    one, other, older = ImagePool(3), ImagePool(3), ImagePool(3)
    for _ in range(5):
        one.exchange(torch.rand(2, 1, 2, 2))
    other.load_state_dict(one.state_dict())
    assert other.age == one.age > 0
    older.load_state_dict({"images": one.state_dict()["images"]})
    assert (len(older.images), older.age) == (3, 0)
    older.exchange(torch.rand(4, 1, 2, 2))


def test_pools_of_no_size_and_methods_without_pools_have_no_columns():
    assert watched(target=ImagePool(0)).values() == {}
    watch = Pools()
    watch.attach(type("Trainer", (), {"method": object()})(), None)
    assert watch.values() == {}
