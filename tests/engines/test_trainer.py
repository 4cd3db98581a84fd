"""The training engine: switches leave the result within tolerance, bad numbers stop it, losses come out by name."""

import pytest
import torch
from ignite.engine import Events

from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import CsvLog, TrainingProgress, TranslationTrainer
from medtrans.losses import L1, Adversarial, DiscriminatorPerceptual
from medtrans.methods import PairedTranslation
from medtrans.networks import CasNet, PatchDiscriminator


def items(count=8, size=16):
    generator = torch.Generator().manual_seed(5)
    sources = torch.nn.functional.avg_pool2d(torch.rand(count, 1, size + 4, size + 4, generator=generator), 5, 1)
    return [{"source": s * 2 - 1, "target": 1 - 2 * s} for s in sources]


def build(max_epochs=2, batch_size=4, learning_rate=1e-3, **settings):
    torch.manual_seed(0)
    generator = CasNet(2, 1, 1, blocks=2, channels=(8, 16))
    discriminator = PatchDiscriminator(2, 2, channels=8, spectral=True)
    optimizers = {
        name: torch.optim.Adam(network.parameters(), learning_rate, (0.5, 0.999), fused=settings.pop("fused", True))
        for name, network in (("generator", generator), ("discriminator", discriminator))
    }
    losses = {"adversarial": Adversarial(), "perceptual": DiscriminatorPerceptual(20.0), "l1": L1(1.0)}
    method = PairedTranslation(generator, losses, optimizers, discriminator)
    dataset = EpochDataset(items(), lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, batch_size, sampler=EpochSampler(dataset))
    return TranslationTrainer("cpu", max_epochs, loader, method, threads=1, **settings)


def trained(**settings):
    trainer = build(**settings)
    trainer.run()
    return trainer


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.method.networks.parameters()])


def distance(one, other):
    """Relative difference of two sets of weights after training, against how far training moved them."""
    start = weights(build())
    return ((weights(one) - weights(other)).norm() / (weights(one) - start).norm()).item()


@pytest.fixture(scope="module")
def reference():
    return trained()


def test_equal_settings_give_equal_bits(reference):
    assert torch.equal(weights(reference), weights(trained()))


def test_accumulation_gives_the_update_of_the_whole_batch(reference):
    assert distance(reference, trained(accumulation=2)) < 3e-2
    assert distance(reference, trained(accumulation=3)) < 3e-2  # 4 = 2 + 2: parts may be fewer than asked


def test_fused_adam_gives_the_same_result(reference):
    assert distance(reference, trained(fused=False)) < 3e-2


def test_channels_last_gives_the_same_result(reference):
    assert distance(reference, trained(channels_last=True)) < 3e-2


def test_bf16_stays_close_and_keeps_weights_in_float32(reference):
    low = trained(precision="bf16")
    assert all(p.dtype == torch.float32 for p in low.method.networks.parameters())
    assert 0 < distance(reference, low) < 0.5
    assert low.state.output[0]["l1"] == pytest.approx(reference.state.output[0]["l1"], rel=0.15)


def test_fp16_scales_its_loss(reference):
    low = trained(precision="fp16")
    assert low.grad_scaler.is_enabled()
    assert low.state.output[0]["l1"] == pytest.approx(reference.state.output[0]["l1"], rel=0.15)


def test_auto_precision_follows_the_hardware():
    from medtrans.engines.precision import autocast_type, has_fast_bf16

    device = torch.device("cpu")
    assert autocast_type("auto", device) == (torch.bfloat16 if has_fast_bf16(device) else None)
    with pytest.raises(ValueError, match="fp32, bf16, fp16, auto"):
        autocast_type("half", device)


@pytest.mark.slow
def test_compiled_networks_give_the_same_result_and_keep_their_names(reference):
    compiled = trained(compile=True)
    assert distance(reference, compiled) < 3e-2
    assert list(compiled.method.generator.state_dict()) == list(reference.method.generator.state_dict())


def test_another_seed_gives_another_order():
    seen = []
    for seed in (0, 0, 1):
        dataset = EpochDataset(items(), lambda item: item, seed=seed)
        sampler = EpochSampler(dataset, seed=seed)
        sampler.set_epoch(1)
        seen.append([index for _, index in sampler])
    assert seen[0] == seen[1] != seen[2]


def test_output_is_a_list_of_named_floats(reference):
    (losses,) = reference.state.output
    assert set(losses) == {"loss", "adversarial", "perceptual", "l1", "discriminator", "discriminator_adversarial"}
    assert all(isinstance(value, float) for value in losses.values())


def test_losses_fall(reference):
    trainer = build(max_epochs=6)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.output[0]["l1"]))
    trainer.run()
    assert sum(seen[-2:]) < 0.8 * sum(seen[:2])


def test_a_loss_that_is_not_finite_stops_training_and_is_named():
    trainer = build()
    trainer.data_loader.dataset.data[0]["target"][:] = float("nan")
    with pytest.raises(FloatingPointError, match=r"loss .* is not finite in epoch 1, iteration .*fp32"):
        trainer.run()


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_an_error_ends_the_run_although_handlers_listen_to_it(error, tmp_path):
    trainer = build(train_handlers=[CsvLog(tmp_path / "losses.csv"), TrainingProgress()])

    def fail(_):
        raise error

    trainer.add_event_handler(Events.ITERATION_STARTED(once=2), fail)
    with pytest.raises(type(error)):
        trainer.run()
    assert trainer.state.iteration == 2
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 2


def test_schedules_step_once_an_epoch():
    trainer = build(max_epochs=3)
    optimizer = trainer.method.optimizers["generator"]
    trainer.method.schedulers["generator"] = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    trainer.run()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.5**3)


def test_epoch_length_may_differ_from_the_loaders():
    trainer = build(epoch_length=1, max_epochs=3)
    trainer.run()
    assert (trainer.state.iteration, trainer.state.epoch) == (3, 3)


def test_more_batches_an_epoch_than_there_are_is_refused():
    with pytest.raises(ValueError, match="the data give 2 batches"):
        build(epoch_length=3)


def test_fp16_does_not_skip_broken_steps_for_ever():
    trainer = build(precision="fp16", max_epochs=20)
    for item in trainer.data_loader.dataset.data:
        item["target"][:] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        trainer.run()
