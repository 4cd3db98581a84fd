"""CycleGAN's schedule: its rates by the public formula, and a resumed one."""

from itertools import pairwise

import pytest
import torch

from medtrans.methods import LinearDecay


def rates(epochs, constant=None, start=2e-4):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], start)
    schedule, found = LinearDecay(optimizer, epochs, constant), []
    for _ in range(epochs + 2):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_constant_for_the_first_half_then_equal_steps_to_zero():
    found = rates(200)
    assert found[:100] == [2e-4] * 100
    assert found[100] == pytest.approx(2e-4 * (1 - 1 / 101))
    assert found[199] == pytest.approx(2e-4 / 101)
    assert found[200] == found[201] == 0
    steps = [a - b for a, b in pairwise(found[99:201])]
    assert steps == pytest.approx([2e-4 / 101] * 101)


def test_the_constant_part_is_a_setting():
    assert rates(4, 4)[:4] == [2e-4] * 4
    assert rates(3, 0)[:3] == pytest.approx([2e-4 * n / 4 for n in (3, 2, 1)])
    with pytest.raises(ValueError, match="between 0 and epochs = 3"):
        rates(3, 4)


def test_a_saved_schedule_goes_on_where_it_was(tmp_path):
    def parts():
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1.0)
        return optimizer, LinearDecay(optimizer, 10)

    optimizer, schedule = parts()
    for _ in range(7):
        optimizer.step()
        schedule.step()
    torch.save([optimizer.state_dict(), schedule.state_dict()], tmp_path / "state.pt")
    other, again = parts()
    for part, state in zip((other, again), torch.load(tmp_path / "state.pt", weights_only=True), strict=True):
        part.load_state_dict(state)
    for _ in range(3):
        for one, plan in ((optimizer, schedule), (other, again)):
            one.step()
            plan.step()
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert optimizer.param_groups[0]["lr"] == 0
