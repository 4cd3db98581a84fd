"""Several processes stop together, also where they do not see the same: the others would wait for who stops alone."""

import json

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch.nn.parallel import DistributedDataParallel

from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import Checkpoints, StopOnPlateau, TranslationTrainer, Watch, Watching
from medtrans.errors import TrainingStoppedError
from medtrans.losses import L1
from medtrans.methods import PairedTranslation
from medtrans.networks import CasNet

EPOCHS = 5
# What each process sees: epochs with a sign, a score an epoch.
SIGNS = {"first": ((2, 3), ()), "other": ((), (1, 2, 3)), "both": ((3, 4), (1, 2))}
SCORES = {"first": ([1, 3, 2, 2, 2], [1, 2, 3, 4, 5]), "other": ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])}


class Sign(Watch):
    """Shows a sign in the epochs it is told."""

    name = "sign"

    def __init__(self, shown):
        self.shown = shown

    def signs(self, epoch):
        return {"cold_feet": "the feet are cold"} if epoch in self.shown else {}


def trainer(folder, handlers):
    torch.manual_seed(0)
    generator = DistributedDataParallel(CasNet(2, 1, 1, blocks=1, channels=(4, 4)), broadcast_buffers=False)
    optimizers = {"generator": torch.optim.SGD(generator.parameters(), 0.1)}
    method = PairedTranslation(generator, {"l1": L1()}, optimizers, generator_steps=1)
    dataset = EpochDataset([{"source": torch.rand(1, 8, 8), "target": torch.rand(1, 8, 8)}] * 4, lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, 2, sampler=EpochSampler(dataset))
    return TranslationTrainer("cpu", EPOCHS, loader, method, handlers, Checkpoints(folder), threads=1)


def ended(run):
    """The epoch that a run ends with, and whether a rule stopped it."""
    try:
        run.run()
    except TrainingStoppedError:
        return run.state.epoch, True
    return run.state.epoch, False


def watched(folder, shown):
    return ended(trainer(folder, [Watching(watches=[Sign(shown)], stop_after={"cold": 2})]))


def on_plateau(folder, scores):
    evaluator = SupervisedEvaluator(torch.device("cpu"), [], torch.nn.Identity(), epoch_length=0)
    evaluator.state.key_metric_name = "psnr"
    run = trainer(folder, [StopOnPlateau(evaluator, 2)])

    def validate(engine):
        evaluator.state.metrics = {"psnr": scores[engine.state.epoch - 1]}
        evaluator.fire_event(Events.COMPLETED)

    run.add_event_handler(Events.EPOCH_COMPLETED, validate)
    return ended(run)


def _run_all(rank, folder):
    found = {f"signs of {who}": watched(folder / who, seen[rank]) for who, seen in SIGNS.items()}
    found |= {f"scores of {who}": on_plateau(folder / f"s{who}", seen[rank]) for who, seen in SCORES.items()}
    (folder / f"{rank}.json").write_text(json.dumps(found))


@pytest.mark.slow
def test_the_first_process_decides_when_all_of_them_stop(in_two_processes, tmp_path):
    in_two_processes(_run_all, tmp_path)
    first, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == {
        "signs of first": [3, True],
        "signs of other": [EPOCHS, False],
        "signs of both": [4, True],
        "scores of first": [4, False],
        "scores of other": [EPOCHS, False],
    }
    assert other == first
