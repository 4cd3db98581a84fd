"""The plain loops that training steps are measured against take the same step."""

import copy
from pathlib import Path

import pytest
import torch

from medtrans.engines import TranslationTrainer

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture(scope="module")
def scripts(script):
    """``plain_loops`` and ``training_step``, which imports it by that name."""
    return script("plain_loops"), script("training_step")


def plain_descent(method):
    """The method with plain gradient descent: Adam's first step has the size of the rate, whatever the gradient."""
    for name, optimizer in method.optimizers.items():
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        method.optimizers[name] = torch.optim.SGD(parameters, 1e-3)
    return method


COMPARED = ("cyclegan", "cyclegan_s", "generators_s", "cycle_medgan", "bigan", "unit", "medgan")
OTHERS = sorted({path.parent.name for path in BUNDLES.glob("*/method.json")} - set(COMPARED))


def small_parser(training_step, folder, small_settings):
    """The bundle's training config, made so small that a step takes milliseconds."""
    settings = {"image_size": [16, 16], "batch_size": 2, "dataset_dir": "-", "accumulation": 1, "generator_steps": 1}
    settings |= small_settings(folder) | {"discriminator_def::spectral": False}
    parser = training_step.read_bundle(folder, [], {})
    there = {key: value for key, value in settings.items() if parser.get(key.split("::")[0]) is not None}
    return training_step.read_bundle(folder, [], there)


@pytest.mark.parametrize("bundle", COMPARED)
def test_the_plain_loop_moves_the_weights_as_the_engine_does(scripts, bundle, small_settings):
    plain_loops, training_step = scripts
    parser = small_parser(training_step, BUNDLES / bundle, small_settings)
    torch.manual_seed(0)
    ours = plain_descent(parser.get_parsed_content("method"))
    theirs = plain_descent(copy.deepcopy(ours))
    batch = training_step.random_batch(parser, torch.device("cpu"))
    trainer = TranslationTrainer("cpu", 1, [batch], ours)
    _, loop = plain_loops.plain_loop(theirs)
    before = [p.detach().clone() for p in ours.parameters()]
    torch.manual_seed(3)
    trainer._iteration(trainer, batch)
    torch.manual_seed(3)
    loop(theirs, batch, None)
    moved = [(p - q).abs().max().item() for p, q in zip(ours.parameters(), before, strict=True)]
    assert max(moved) > 0
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-3 * max(moved), msg=f"{bundle}: {name} differs")


@pytest.mark.parametrize("bundle", OTHERS)
def test_every_other_bundle_takes_a_step_on_random_images(scripts, bundle, small_settings):
    training_step = scripts[1]
    parser = small_parser(training_step, BUNDLES / bundle, small_settings)
    method = parser.get_parsed_content("method")
    batch = training_step.random_batch(parser, torch.device("cpu"))
    before = [p.detach().clone() for p in method.parameters()]
    trainer = TranslationTrainer("cpu", 1, [batch], method)
    trainer._iteration(trainer, batch)
    assert any((p != q).any() for p, q in zip(method.parameters(), before, strict=True))
