"""The image pool: what it keeps, what it gives out, and that it survives being saved."""

from collections import Counter

import pytest
import torch

from medtrans.methods import ImagePool


def images(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def values(batch):
    return batch[:, 0, 0, 0].tolist()


def test_a_pool_that_is_not_full_keeps_and_returns_what_it_is_given():
    pool = ImagePool(5)
    assert values(pool.exchange(images(1, 2, 3))) == [1, 2, 3]
    assert values(pool.exchange(images(4, 5))) == [4, 5]
    assert [image[0, 0, 0].item() for image in pool.images] == [1, 2, 3, 4, 5]


def test_a_full_pool_gives_old_images_half_of_the_time_and_takes_the_new_one_in_their_place():
    torch.manual_seed(0)
    pool = ImagePool(50)
    pool.exchange(images(*range(50)))
    passed = 0
    for new in range(50, 4050):
        before = Counter(image[0, 0, 0].item() for image in pool.images)
        (given,) = values(pool.exchange(images(new)))
        after = Counter(image[0, 0, 0].item() for image in pool.images)
        assert sum(after.values()) == 50
        if given == new:
            passed += 1
            assert after == before
        else:
            assert after - before == Counter({float(new): 1})
            assert before - after == Counter({given: 1})
    assert 0.47 < passed / 4000 < 0.53
    assert len({image[0, 0, 0].item() for image in pool.images if image[0, 0, 0] < 50}) < 3  # all places are exchanged


def test_it_gives_copies_without_gradient_that_later_changes_do_not_reach():
    pool = ImagePool(2)
    new = images(1, 2).requires_grad_()
    given = pool.exchange(new * 1.0)
    assert not given.requires_grad
    given += 10
    assert [image[0, 0, 0].item() for image in pool.images] == [1, 2]


def test_a_pool_of_no_size_returns_what_it_is_given():
    assert values(ImagePool(0).exchange(images(1, 2))) == [1, 2]
    with pytest.raises(ValueError, match="at least 0"):
        ImagePool(-1)


def test_a_pool_that_was_saved_goes_on_as_if_it_had_not_been(tmp_path):
    torch.manual_seed(0)
    pool = ImagePool(4)
    pool.exchange(images(*range(7)))
    torch.save(pool.state_dict(), tmp_path / "pool.pt")
    again = ImagePool(4)
    again.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True))
    given = []
    for one in (pool, again):
        torch.manual_seed(1)
        given.append([values(one.exchange(images(*range(10 * n, 10 * n + 3)))) for n in range(1, 9)])
    assert given[0] == given[1]
    assert any(value < 10 for batch in given[0] for value in batch)


def _exchange(rank, folder):
    pool, given = ImagePool(4), []
    for step in range(10):
        torch.manual_seed(100 * rank + step)  # the engine seeds every process differently
        given.append(values(pool.exchange(images(4 * step + 2 * rank, 4 * step + 2 * rank + 1))))
    torch.save({"given": given, **pool.state_dict()}, folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_share_one_pool_of_all_their_images(in_two_processes, tmp_path):
    in_two_processes(_exchange, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert values(torch.stack(first["images"])) == values(torch.stack(second["images"]))

    alone, given = ImagePool(4), []
    for step in range(10):
        torch.manual_seed(step)  # the first process's
        given.append(values(alone.exchange(images(*range(4 * step, 4 * step + 4)))))
    assert [one + other for one, other in zip(first["given"], second["given"], strict=True)] == given
    assert values(torch.stack(alone.images)) == values(torch.stack(first["images"]))
