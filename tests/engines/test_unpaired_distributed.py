"""Unpaired methods in several processes: several passes through a wrapped network before its gradient is taken."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import Checkpoints, TranslationTrainer
from medtrans.losses import Adversarial, CodeDivergence, Cycle, Identity, Reconstruction
from medtrans.methods import CycleTranslation, UnitTranslation
from medtrans.networks import UNIT, MultiScaleDiscriminator, PatchDiscriminator, ResNetGenerator


def wrapped(network):
    distributed = torch.distributed.is_initialized()
    return DistributedDataParallel(network, broadcast_buffers=False) if distributed else network


def sgd(*networks):
    return torch.optim.SGD([p for network in networks for p in network.parameters()], 1e-5)


def cycle():
    there, back = (wrapped(ResNetGenerator(2, 1, 1, channels=4, blocks=1)) for _ in range(2))
    of_target, of_source = (wrapped(PatchDiscriminator(2, 1, channels=4)) for _ in range(2))
    losses = {"adversarial": Adversarial(form="least_squares"), "cycle": Cycle(10.0), "identity": Identity(5.0)}
    optimizers = {"generator": sgd(there, back), "discriminator": sgd(of_target, of_source)}
    return CycleTranslation(there, back, losses, optimizers, of_target, of_source, pool_size=3)


def unit():
    network = wrapped(UNIT(2, 1, 1, channels=2))
    of_target, of_source = (wrapped(MultiScaleDiscriminator(2, 1, 4, 2, 2)) for _ in range(2))
    losses = {
        "adversarial": Adversarial(),
        "reconstruction": Reconstruction(10.0),
        "divergence": CodeDivergence(0.01),
        "cycle": Cycle(10.0),
        "cycle_divergence": CodeDivergence(0.01, cycled=True),
    }
    optimizers = {"generator": sgd(network), "discriminator": sgd(of_target, of_source)}
    return UnitTranslation(network, losses, optimizers, of_target, of_source)


METHODS = {"cycle": cycle, "unit": unit}


def trained(name, folder, batch_size):
    torch.manual_seed(0)
    method = METHODS[name]()
    generator = torch.Generator().manual_seed(5)
    images = nn.functional.avg_pool2d(torch.rand(16, 1, 20, 20, generator=generator), 5, 1) * 2 - 1
    dataset = EpochDataset([{"source": a, "target": b} for a, b in images.unflatten(0, (8, 2))], lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, batch_size, sampler=EpochSampler(dataset))
    run = TranslationTrainer("cpu", 2, loader, method, checkpoints=Checkpoints(folder), threads=1)
    run.run()
    return [p.detach() for p in run.method.networks.parameters()]


def _train_all(rank, folder):
    for name in METHODS:
        torch.save(trained(name, folder / name, 1), folder / f"{name}-{rank}.pt")


@pytest.fixture(scope="module")
def two(in_two_processes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    in_two_processes(_train_all, folder)
    return folder


def saved(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_both_processes_hold_the_same_networks_under_the_names_of_a_single_one(two, tmp_path, name):
    first, second = (torch.load(two / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(p, q) for p, q in zip(first, second, strict=True))
    trained(name, tmp_path, 2)
    of_two, of_one = saved(two / name), saved(tmp_path)
    assert of_two.keys() == of_one.keys()
    for key, state in of_one.items():
        assert state.keys() == of_two[key].keys()


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_batch_and_the_pool_of_both(two, tmp_path):
    trained("cycle", tmp_path, 2)  # UNIT draws its noise in each process
    of_two, of_one = saved(two / "cycle"), saved(tmp_path)
    for pool in ("pool_target", "pool_source"):
        one, other = (torch.stack(state[pool]["images"]) for state in (of_one, of_two))
        assert len(one) == 3
        torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    torch.manual_seed(0)
    started = METHODS["cycle"]().stateful()
    for key in (key for key in of_one if key.startswith("network")):
        states = (started[key].state_dict(), of_one[key], of_two[key])
        start, one, other = (torch.cat([value.flatten() for value in state.values()]) for state in states)
        assert (one - other).norm() < 1e-2 * (one - start).norm(), key
