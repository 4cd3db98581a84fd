"""Watching: columns without a pass more, no bit changed, each sign said once, rules that stop the run."""

import csv
import logging
import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import ValidationHandler, from_engine
from torch import nn

from medtrans import InputError
from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import (
    Checkpoints,
    CsvLog,
    Diversity,
    SourceInformation,
    TranslationTrainer,
    Watch,
    Watching,
    source_and_target,
)
from medtrans.engines.watches import available
from medtrans.errors import NotFiniteError, TrainingStoppedError
from medtrans.losses import L1, Adversarial, Cycle, DiscriminatorPerceptual
from medtrans.methods import CycleTranslation, PairedTranslation
from medtrans.networks import CasNet, PatchDiscriminator, ResNetGenerator


def adam(*networks):
    return torch.optim.Adam([p for network in networks for p in network.parameters()], 1e-3, (0.5, 0.999))


def unpaired():
    there, back = (ResNetGenerator(2, 1, 1, channels=4, blocks=1) for _ in range(2))
    judges = [PatchDiscriminator(2, 1, channels=4) for _ in range(2)]
    losses = {"adversarial": Adversarial(form="least_squares"), "cycle": Cycle(10.0)}
    optimizers = {"generator": adam(there, back), "discriminator": adam(*judges)}
    return CycleTranslation(there, back, losses, optimizers, *judges, pool_size=3)


def paired():
    generator, judge = CasNet(2, 1, 1, blocks=1, channels=(4, 8)), PatchDiscriminator(2, 2, channels=4)
    losses = {"adversarial": Adversarial(), "perceptual": DiscriminatorPerceptual(20.0)}
    optimizers = {"generator": adam(generator), "discriminator": adam(judge)}
    return PairedTranslation(generator, losses, optimizers, judge, generator_steps=2)


def regression():
    generator = CasNet(2, 1, 1, blocks=1, channels=(4, 8))
    return PairedTranslation(generator, {"l1": L1()}, {"generator": adam(generator)}, generator_steps=1)


METHODS = {method.__name__: method for method in (unpaired, paired, regression)}
OF_JUDGE = ("accuracy_real", "accuracy_synthetic", "logit_real", "logit_synthetic")


def build(name, handlers=(), folder=None, epochs=2, **settings):
    torch.manual_seed(0)
    images = nn.functional.avg_pool2d(torch.rand(8, 1, 20, 20, generator=torch.Generator().manual_seed(5)), 5, 1)
    items = [{"source": a, "target": b} for a, b in (images * 2 - 1).unflatten(0, (4, 2))]
    dataset = EpochDataset(items, lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, 2, sampler=EpochSampler(dataset))
    checkpoints = Checkpoints(folder) if folder else None
    return TranslationTrainer(
        "cpu", epochs, loader, METHODS[name](), list(handlers), checkpoints, threads=1, **settings
    )


def passes(trainer):
    """Counts every forward pass of every network while ``trainer`` runs."""
    counts = {}

    def count(network_name):
        counts[network_name] = 0

        def hook(*_):
            counts[network_name] += 1

        return hook

    for name, network in trainer.method.networks.items():
        network.register_forward_hook(count(name))
    trainer.run()
    return counts


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.method.networks.parameters()])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("settings", [{}, {"accumulation": 2}, {"precision": "bf16"}])
def test_it_runs_no_network_and_changes_no_bit(name, settings):
    bare, watched = build(name, **settings), build(name, [Watching()], **settings)
    assert passes(bare) == passes(watched)
    assert torch.equal(weights(bare), weights(watched))


def columns(name):
    judges = [key for key in METHODS[name]().networks if key.startswith("discriminator")]
    found = {f"{judge}_{measure}" for judge in judges for measure in OF_JUDGE}
    found |= {f"gradient_{optimizer}" for optimizer in METHODS[name]().optimizers}
    pools = ("source", "target") if name == "unpaired" else ()
    return found | {f"pool_{domain}_{measure}" for domain in pools for measure in ("fill", "age")}


@pytest.mark.parametrize("name", METHODS)
def test_every_column_stands_beside_the_losses_in_every_row(name, tmp_path):
    trainer = build(name, [Watching(), CsvLog(tmp_path / "losses.csv")])
    trainer.run()
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    bare = build(name)
    bare.run()
    assert len(rows) == 4
    assert set(rows[0]) == {"epoch", "iteration", *bare.state.output[0]} | columns(name)
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())


@pytest.mark.parametrize(("name", "settings"), [("unpaired", {}), ("paired", {}), ("unpaired", {"precision": "fp16"})])
def test_gradient_norms_are_those_that_the_optimisers_step_by(name, settings):
    trainer = build(name, [Watching()], epochs=1, **settings)
    if trainer.grad_scaler.is_enabled():
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=16.0)  # the default one skips the first steps
    stepped = {key: [] for key in trainer.method.optimizers}
    for key, optimizer in trainer.method.optimizers.items():

        def note(chosen, *_, key=key):
            gradients = [p.grad for group in chosen.param_groups for p in group["params"] if p.grad is not None]
            stepped[key].append(math.sqrt(sum(float(g.double().square().sum()) for g in gradients)))

        optimizer.register_step_pre_hook(note)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(dict(e.state.output[0])))
    trainer.run()
    for key, norms in stepped.items():
        steps = len(norms) // len(seen)
        means = [sum(norms[start : start + steps]) / steps for start in range(0, len(norms), steps)]
        assert [row[f"gradient_{key}"] for row in seen] == pytest.approx(means, rel=1e-4)


def test_accuracies_are_those_of_the_logits_that_the_discriminator_gave_in_its_own_update():
    trainer = build("paired", [Watching()], epochs=1)
    judge, heard = trainer.method.discriminator, []

    def listen(network, _, output):
        if network.training:  # in the generator's update it is frozen
            heard.append(output[-1].detach())

    judge.register_forward_hook(listen)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(dict(e.state.output[0])))
    trainer.run()
    for row, said in zip(seen, zip(heard[::2], heard[1::2], strict=True), strict=True):
        of_real, of_synthetic = (row[f"discriminator_logit_{what}"] for what in ("real", "synthetic"))
        assert sorted((of_real, of_synthetic)) == pytest.approx(sorted(float(x.mean()) for x in said), abs=1e-6)
        taken_for_real = row["discriminator_accuracy_real"], 1 - row["discriminator_accuracy_synthetic"]
        assert sorted(taken_for_real) == pytest.approx(sorted(float((x > 0).float().mean()) for x in said), abs=1e-6)


class Sign(Watch):
    """Shows a sign in the epochs it is told."""

    name, epochs = "sign", 2

    def __init__(self, *shown):
        self.shown = shown

    def signs(self, epoch):
        return {"cold_feet": f"the feet are cold in epoch {epoch}"} if epoch in self.shown else {}


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_sign_that_lasts_is_said_once_in_one_line(caplog):
    build("regression", [Watching(watches=[Sign(1, 3, 4, 5, 7, 8)])], epochs=8).run()
    (said,) = warnings_in(caplog)
    assert said == "warning: epoch 4: the feet are cold in epoch 4 (docs/watching-a-gan.md)"


def test_a_resumed_run_neither_forgets_how_long_a_sign_lasts_nor_repeats_what_was_said(caplog, tmp_path):
    for epochs, expected in ((1, 0), (2, 1), (4, 1)):
        build("regression", [Watching(watches=[Sign(1, 2, 3, 4)])], tmp_path, epochs).run()
        assert len(warnings_in(caplog)) == expected


def test_a_rule_stops_the_run_with_its_checkpoint_and_the_same_command_goes_on(tmp_path):
    def start():
        return build("regression", [Watching(watches=[Sign(2, 3, 4)], stop_after={"cold": 2})], tmp_path, epochs=6)

    with pytest.raises(TrainingStoppedError, match=r"training, epoch 3: was stopped: the feet are cold .*2 epochs"):
        start().run()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["run"]["iteration"] == 3 * 2
    with pytest.raises(TrainingStoppedError, match="epoch 4"):
        start().run()
    last = start()
    last.run()
    assert last.state.epoch == 6


def test_rules_name_signs_and_no_rule_stops_nothing():
    for rules in ({}, {"warm": 1}, {"cold": 9}):
        trainer = build("regression", [Watching(watches=[Sign(1, 2, 3)], stop_after=rules)], epochs=3)
        trainer.run()
        assert trainer.state.epoch == 3
    with pytest.raises(TrainingStoppedError):
        build("regression", [Watching(watches=[Sign(1)], stop_after={"any": 1})]).run()
    with pytest.raises(InputError, match="1 epoch or more"):
        Watching(stop_after={"any": 0})


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_reaches_a_checkpoint(tmp_path):
    trainer = build("regression", [Watching()], tmp_path, epochs=2)
    parameter = next(trainer.method.generator.parameters())
    parameter.register_hook(lambda g: g * math.nan if trainer.state.iteration == 4 else g)
    with pytest.raises(NotFiniteError, match=r"gradient_generator is not finite in epoch 2, iteration 4"):
        trainer.run()
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["run"]["iteration"] == 2
    assert all(torch.isfinite(value).all() for value in saved["network_generator"].values())


def test_an_image_that_no_longer_depends_on_the_source_is_seen_in_the_validation(caplog):
    evaluator = Engine(lambda *_: None)
    trainer = build("regression", [Watching(evaluator)], epochs=4)
    trainer.add_event_handler(
        Events.EPOCH_STARTED, lambda _: evaluator.state.metrics.update(diversity=0.1, source_information=0.5)
    )
    trainer.run()
    (said,) = warnings_in(caplog)
    assert "mode collapse?" in said
    assert "10%" in said


def test_a_checkpoint_without_watches_is_gone_on_with(tmp_path):
    build("unpaired", [], tmp_path, epochs=1).run()
    trainer = build("unpaired", [Watching()], tmp_path, epochs=2)
    trainer.run()
    assert trainer.state.epoch == 2


def test_every_watch_of_the_folder_is_there():
    assert {"collapse", "discriminators", "drift", "gradients", "pools"} <= set(available())
    assert {type(watch) for watch in Watching().watches} == set(available().values())


def heads(count, seed=3):
    """Discs of random place and size with a random texture on background, and the same inverted, with noise."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 16)] * 2, indexing="ij"))
    centre, radius = torch.rand(count, 2, 1, 1, generator=generator) - 0.5, torch.rand(count, 1, 1, generator=generator)
    disc = ((grid - centre).norm(dim=1) < 0.4 + 0.4 * radius)[:, None]
    texture = nn.functional.avg_pool2d(torch.rand(count, 1, 20, 20, generator=generator), 5, 1) * 4 - 2
    source = torch.where(disc, texture.clamp(-0.9, 0.9), -1.0)
    noise = 0.4 * torch.randn(source.shape, generator=generator)
    return source, torch.where(disc, noise - source, -1.0).clamp(-1, 1)


@pytest.mark.parametrize("broken", [False, True])
def test_a_generator_that_was_given_the_wrong_pairs_is_told_from_a_healthy_one(caplog, broken):
    """Shuffled targets teach L1 the mean of all patients: the same image for everybody."""
    torch.manual_seed(0)
    source, target = heads(240)
    shown = target[torch.randperm(len(target))] if broken else target
    dataset = EpochDataset([{"source": x, "target": y} for x, y in zip(source, shown, strict=True)], lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, 8, sampler=EpochSampler(dataset))
    generator = CasNet(2, 1, 1, blocks=1, channels=(8, 16))
    optimizer = torch.optim.Adam(generator.parameters(), 5e-3)
    method = PairedTranslation(generator, {"l1": L1()}, {"generator": optimizer}, generator_steps=1)
    x, y = heads(24, 4)
    held_out = [{"source": x, "target": y}]
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        held_out,
        generator,
        prepare_batch=source_and_target,
        key_val_metric={"diversity": Diversity()},
        additional_metrics={
            "source_information": SourceInformation(),
            "pair_information": SourceInformation(from_engine(["image", "label"])),
        },
    )
    handlers = [ValidationHandler(1, evaluator), Watching(evaluator)]
    TranslationTrainer("cpu", 8, loader, method, handlers, threads=1).run()
    said = " ".join(warnings_in(caplog))
    assert "mode collapse?" in said if broken else said == ""
