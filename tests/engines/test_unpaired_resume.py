"""Unpaired methods on the engine: a run stopped anywhere and started again ends with the bits of an unbroken one."""

import pytest
import torch
from ignite.engine import Events
from torch import nn

from medtrans.cohorts import EpochDataset, EpochSampler
from medtrans.engines import Checkpoints, TranslationTrainer, Watching
from medtrans.losses import (
    L1,
    Adversarial,
    CodeDivergence,
    Cycle,
    Identity,
    JointAdversarial,
    Perceptual,
    Reconstruction,
)
from medtrans.methods import BiGANPretraining, CycleTranslation, LinearDecay, UnitTranslation
from medtrans.networks import (
    UNIT,
    BiGAN,
    BiGANDiscriminator,
    BiGANFeatures,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    ResNetGenerator,
    spectrally_normalised,
)

EPOCHS, PER_EPOCH = 4, 3


def adam(*networks):
    parameters = [p for network in networks for p in network.parameters()]
    return torch.optim.Adam(parameters, 1e-3, (0.5, 0.999), fused=True)


def scheduled(optimizers):
    return {"optimizers": optimizers, "schedulers": {k: LinearDecay(o, EPOCHS, 1) for k, o in optimizers.items()}}


def cycle_medgan():
    there, back = (spectrally_normalised(ResNetGenerator(2, 1, 1, channels=4, blocks=1, dropout=0.5)) for _ in range(2))
    of_target, of_source = (PatchDiscriminator(2, 1, channels=4, spectral=True) for _ in range(2))
    losses = {
        "adversarial": Adversarial(form="least_squares"),
        "cycle": Cycle(10.0),
        "identity": Identity(5.0),
        "supervised": L1(1.0),
        "cycle_perceptual": Cycle(1.0, Perceptual(BiGANFeatures("random"))),
    }
    optimizers = {"generator": adam(there, back), "discriminator": adam(of_target, of_source)}
    return CycleTranslation(
        there,
        back,
        losses,
        **scheduled(optimizers),
        discriminator_of_target=of_target,
        discriminator_of_source=of_source,
        pool_size=5,
    )


def attention_unit():
    network = UNIT(2, 1, 1, channels=2, attention="encoder", spectral=True, dropout=0.5)
    of_target, of_source = (MultiScaleDiscriminator(2, 1, 4, 2, 2, spectral=True) for _ in range(2))
    losses = {
        "adversarial": Adversarial(),
        "reconstruction": Reconstruction(10.0),
        "divergence": CodeDivergence(0.01),
        "cycle": Cycle(10.0),
        "cycle_divergence": CodeDivergence(0.01, cycled=True),
    }
    optimizers = {"generator": adam(network), "discriminator": adam(of_target, of_source)}
    return UnitTranslation(
        network,
        losses,
        **scheduled(optimizers),
        discriminator_of_target=of_target,
        discriminator_of_source=of_source,
        pool_size=3,
    )


def bigan():
    shape = {"image_size": [16, 16], "channels": (4, 8), "code": 6}
    network, discriminator = BiGAN(2, 1, **shape), BiGANDiscriminator(2, 1, **shape, joint=8)
    losses = {"adversarial": JointAdversarial(), "reconstruction": Reconstruction(10.0)}
    return BiGANPretraining(
        network, discriminator, losses, **scheduled({"generator": adam(network), "discriminator": adam(discriminator)})
    )


METHODS = {method.__name__: method for method in (cycle_medgan, attention_unit, bigan)}


def trainer(name, folder=None, every=0, **settings):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    images = nn.functional.avg_pool2d(torch.rand(12, 1, 20, 20, generator=generator), 5, 1) * 2 - 1
    items = [{"source": a, "target": b} for a, b in images.unflatten(0, (6, 2))]
    dataset = EpochDataset(items, lambda item: item)
    loader = torch.utils.data.DataLoader(dataset, 2, sampler=EpochSampler(dataset))
    method = METHODS[name]()
    checkpoints = Checkpoints(folder, every) if folder else None
    handlers = settings.pop("handlers", [Watching()])
    return TranslationTrainer("cpu", EPOCHS, loader, method, handlers, checkpoints, threads=1, **settings)


def tensors(state, prefix=""):
    """Every tensor and number of a nested state, by path."""
    if isinstance(state, dict):
        return {k: v for name, part in state.items() for k, v in tensors(part, f"{prefix}/{name}").items()}
    if isinstance(state, list | tuple):
        return {k: v for place, part in enumerate(state) for k, v in tensors(part, f"{prefix}/{place}").items()}
    return {prefix: state}


def content(folder):
    return tensors(torch.load(folder / "checkpoint.pt", weights_only=True))


def differing(one, other):
    assert one.keys() == other.keys()
    return [
        name
        for name, value in one.items()
        if not (torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name])
    ]


@pytest.fixture(scope="module", params=METHODS)
def uninterrupted(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    run = trainer(request.param, folder)
    run.run()
    return request.param, content(folder), run


def interrupted(name, folder, stops, change=lambda run: None):
    """Stopped at the given iterations, some of them beyond a checkpoint, and each time started with new objects."""
    for stop in (*stops, None):
        run = trainer(name, folder, every=2)
        run.load()
        change(run)
        if stop:
            run.add_event_handler(Events.ITERATION_COMPLETED(once=stop), lambda engine: engine.terminate())
        run.run()
    return content(folder)


def test_a_run_stopped_again_and_again_ends_with_the_same_bits(uninterrupted, tmp_path):
    name, whole, _ = uninterrupted
    assert len(whole) > 50
    assert differing(whole, interrupted(name, tmp_path, stops=(3, 5, 8, 11))) == []


@pytest.mark.parametrize("uninterrupted", ["cycle_medgan", "attention_unit"], indirect=True)
def test_the_comparison_sees_a_pool_that_is_lost(uninterrupted, tmp_path):
    name, whole, _ = uninterrupted

    def lose(run):
        run.method.pools["target"].load_state_dict({"images": []})

    changed = differing(whole, interrupted(name, tmp_path, stops=(8,), change=lose))
    assert any("pool_target" in path for path in changed)
    assert any("network_discriminator_of_target" in path for path in changed)


@pytest.mark.parametrize("uninterrupted", ["cycle_medgan", "attention_unit"], indirect=True)
def test_full_pools_are_saved_whole(uninterrupted):
    _, whole, run = uninterrupted
    for domain, pool in run.method.pools.items():
        assert len(pool.images) == pool.size
        saved = [value for path, value in whole.items() if path.startswith(f"/pool_{domain}/images/")]
        assert len(saved) == pool.size


def test_every_value_is_logged_by_name_and_direction(uninterrupted):
    name, _, _ = uninterrupted
    run = trainer(name, handlers=[])
    run.run()
    (losses,) = run.state.output
    assert all(isinstance(value, float) for value in losses.values())
    if name == "bigan":
        assert set(losses) == {"loss", "adversarial", "reconstruction", "discriminator", "discriminator_adversarial"}
        return
    terms = {key.removesuffix("_to_target") for key in losses if key.endswith("_to_target")}
    assert terms == {key.removesuffix("_to_source") for key in losses if key.endswith("_to_source")}
    assert terms == {*run.method.losses.terms, "discriminator_adversarial"}
    assert set(losses) - {f"{t}_to_{d}" for t in terms for d in ("source", "target")} == {"loss", "discriminator"}


@pytest.mark.parametrize("settings", [{"precision": "bf16"}, {"channels_last": True}, {"accumulation": 2}])
@pytest.mark.parametrize("name", METHODS)
def test_switches_of_the_engine_serve_every_method(name, settings):
    run = trainer(name, **settings)
    run.run()
    assert run.state.iteration == EPOCHS * PER_EPOCH
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in run.method.networks.parameters())


def test_the_rate_has_fallen_linearly(uninterrupted):
    _, _, run = uninterrupted
    for optimizer in run.method.optimizers.values():
        assert optimizer.param_groups[0]["lr"] == 0
