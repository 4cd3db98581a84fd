"""UNIT: its objective written out in NumPy terms, one latent space, three scales of discriminators."""

import copy

import pytest
import torch

from medtrans.losses import Adversarial, CodeDivergence, Cycle, Reconstruction
from medtrans.methods import UnitTranslation
from medtrans.networks import UNIT, MultiScaleDiscriminator

SIZE = (18, 22)


def objective():
    """The medical implementation's weights."""
    return {
        "adversarial": Adversarial(10.0, discriminator_weight=10.0),
        "reconstruction": Reconstruction(100.0),
        "divergence": CodeDivergence(0.1),
        "cycle": Cycle(100.0),
        "cycle_divergence": CodeDivergence(0.1, cycled=True),
    }


def method(losses=None, network=None, **kw):
    torch.manual_seed(0)
    network = network or UNIT(2, 1, 1, channels=2)
    of_target, of_source = (MultiScaleDiscriminator(2, 1, channels=2, layers=2, scales=3) for _ in range(2))
    optimizers = {
        "generator": torch.optim.SGD(network.parameters(), 1e-3),
        "discriminator": torch.optim.SGD([*of_target.parameters(), *of_source.parameters()], 1e-3),
    }
    return UnitTranslation(network, losses or objective(), optimizers, of_target, of_source, **kw)


def batch(size=2):
    torch.manual_seed(1)
    return {"source": torch.rand(size, 1, *SIZE) * 2 - 1, "target": torch.rand(size, 1, *SIZE) * 2 - 1}


def minus_log(probability_logits):
    return -torch.log(torch.sigmoid(probability_logits)).mean()


def test_losses_are_the_papers_equations(recorder, monkeypatch):
    """With noise of one instead of random noise, every term follows from the networks' outputs."""
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    ours, data = method(), batch()
    net, judges = copy.deepcopy(ours.network), copy.deepcopy(ours.networks)
    losses = ours.update([data], recorder(ours))
    expected, of_judges = {}, {}
    with torch.no_grad():
        for domain, origin in (("target", "source"), ("source", "target")):
            image, size, judge = data[origin], list(SIZE), judges[f"discriminator_of_{domain}"]
            mean = net(image, origin, "code")
            translated = net(mean + 1, "code", domain, size)
            mean_of_translated = net(translated, domain, "code")
            expected |= {
                f"adversarial_to_{domain}": sum(minus_log(scale[-1]) for scale in judge(translated)),
                f"reconstruction_to_{domain}": (net(mean + 1, "code", origin, size) - image).abs().mean(),
                f"divergence_to_{domain}": (mean**2).mean(),
                f"cycle_to_{domain}": (net(mean_of_translated + 1, "code", origin, size) - image).abs().mean(),
                f"cycle_divergence_to_{domain}": (mean_of_translated**2).mean(),
            }
            of_judges[f"discriminator_adversarial_to_{domain}"] = sum(
                minus_log(real[-1]) + minus_log(-fake[-1])
                for real, fake in zip(judge(data[domain]), judge(translated), strict=True)
            )
    weights = {"adversarial": 10, "reconstruction": 100, "divergence": 0.1, "cycle": 100, "cycle_divergence": 0.1}
    expected["loss"] = sum(weights[name.rsplit("_to_", 1)[0]] * value for name, value in expected.items())
    expected |= {"discriminator": 10 * sum(of_judges.values()), **of_judges}
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_codes_are_drawn_with_unit_variance_and_one_draw_serves_reconstruction_and_translation():
    network = UNIT(2, 1, 1, channels=2)
    ours = method(network=network)
    codes = []
    network.generator_shared.register_forward_pre_hook(lambda _, code: codes.append(code[0].detach()))
    data = batch(8)
    candidate = ours.candidates(data)["target"]
    mean = candidate.derived("code").image
    candidate.derived("reconstructed")
    first, _, again = codes  # to the target, to the source (the other direction), and the reconstruction
    assert torch.equal(first, again)
    noise = first - mean
    assert noise.mean().item() == pytest.approx(0, abs=0.05)
    assert noise.std().item() == pytest.approx(1, rel=0.05)


def test_the_shared_blocks_get_one_gradient_from_both_directions(recorder):
    ours = method()
    ours.update([batch()], recorder(ours))
    shared = [*ours.network.encoder_shared.parameters(), *ours.network.generator_shared.parameters()]
    parameters = ours.optimizers["generator"].param_groups[0]["params"]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert all(sum(p is q for q in parameters) == 1 for p in shared)
    assert all(p.grad.abs().max() > 0 for p in shared)


def test_each_image_is_encoded_translated_and_judged_once(recorder):
    ours = method()
    parts = dict(ours.network.named_children()) | ours.discriminators
    counts = dict.fromkeys(parts, 0)
    for name, network in parts.items():
        network.register_forward_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    ours.update([batch()], recorder(ours))
    assert counts == {
        "encoder_source": 2,  # a source image, and the target translated to it
        "encoder_target": 2,
        "encoder_shared": 4,
        "generator_shared": 6,
        "generator_source": 3,  # reconstruction, translation, cycle
        "generator_target": 3,
        "source": 3,  # discriminators: the translation for the generators, then a real image and the translation made
        "target": 3,
    }


def test_a_term_of_weight_zero_costs_no_pass(recorder):
    losses = objective() | {"cycle": Cycle(0.0), "cycle_divergence": CodeDivergence(0.0, cycled=True)}
    ours = method(losses)
    passes = []
    ours.network.encoder_source.register_forward_hook(lambda *_: passes.append(1))
    values = ours.update([batch()], recorder(ours))
    assert len(passes) == 1
    assert not any(name.startswith("cycle") for name in values)


def test_parts_of_a_batch_give_the_update_of_the_whole(recorder, monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    whole, parts, data = method(), method(), batch(4)
    first = whole.update([data], recorder(whole))
    second = parts.update([{k: v[:1] for k, v in data.items()}, {k: v[1:] for k, v in data.items()}], recorder(parts))
    for name, value in first.items():
        assert second[name].item() == pytest.approx(value.item(), rel=1e-4), name
    # Biases in front of an instance norm get rounding noise for a gradient, and have no effect: outputs are compared.
    with torch.no_grad():
        one, other, before = (m.network(data["source"]) for m in (whole, parts, method()))
    assert (one - other).abs().max() < 1e-3 * (one - before).abs().max()
