"""A run ends when its validation no longer gets better, also when it was interrupted in between."""

import logging

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator

from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import Checkpoints, StopOnPlateau, TranslationTrainer
from medtrans.losses import L1
from medtrans.methods import PairedTranslation
from medtrans.networks import CasNet

SCORES = [1.0, 3.0, 2.0, 3.0, 2.5, 9.0, 9.0]  # better in epochs 1, 2 and 6


class Validation:
    """Stands for MONAI's ValidationHandler: gives the score of the epoch."""

    def __init__(self, evaluator):
        self.evaluator = evaluator

    def attach(self, trainer):
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, trainer):
        self.evaluator.state.metrics = {"psnr": SCORES[trainer.state.epoch - 1]}
        self.evaluator.fire_event(Events.COMPLETED)


def build(folder, patience, epochs=7):
    torch.manual_seed(0)
    generator = CasNet(2, 1, 1, blocks=1, channels=(4, 4))
    method = PairedTranslation(
        generator, {"l1": L1()}, {"generator": torch.optim.SGD(generator.parameters(), 0.1)}, generator_steps=1
    )
    dataset = EpochDataset([{"source": torch.rand(1, 8, 8), "target": torch.rand(1, 8, 8)}] * 2, lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, 2, sampler=EpochSampler(dataset))
    evaluator = SupervisedEvaluator(torch.device("cpu"), [], generator, epoch_length=0)
    evaluator.state.key_metric_name = "psnr"
    handlers = [Validation(evaluator), StopOnPlateau(evaluator, patience)]
    return TranslationTrainer("cpu", epochs, loader, method, handlers, Checkpoints(folder), threads=1)


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (3, 5), (4, 7)])
def test_it_ends_after_so_many_validations_without_a_better_one(tmp_path, caplog, patience, last):
    trainer = build(tmp_path, patience)
    with caplog.at_level(logging.INFO):
        trainer.run()
    assert trainer.state.epoch == last
    assert ("the run ends: psnr has not risen" in caplog.text) == (last < 7)


def test_an_interrupted_run_remembers_the_best_one(tmp_path):
    for epochs in (2, 4):
        build(tmp_path, 3, epochs).run()
    trainer = build(tmp_path, 3)
    trainer.run()
    assert trainer.state.epoch == 5
