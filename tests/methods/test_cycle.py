"""CycleGAN and its relatives: the paper's objective written out, who learns from what, what is computed once."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medtrans.losses import L1, Adversarial, Cycle, Identity, Perceptual, Style
from medtrans.methods import CycleTranslation
from medtrans.networks import PatchDiscriminator, ResNetGenerator


class Features(nn.Module):
    """Two feature maps of an image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(9)
        self.layers = nn.ModuleList([nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3)])
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        first = torch.tanh(self.layers[0](image))
        return [first, torch.tanh(self.layers[1](first))]


def cyclegan():
    return {
        "adversarial": Adversarial(form="least_squares", discriminator_weight=0.5),
        "cycle": Cycle(10.0),
        "identity": Identity(5.0),
    }


def method(losses=None, discriminators=True, networks=None, **kw):
    torch.manual_seed(0)
    there, back = networks or (ResNetGenerator(2, 1, 1, channels=4, blocks=1) for _ in range(2))
    of_target, of_source = (PatchDiscriminator(2, 1, channels=4, norm=None) for _ in range(2))
    optimizers = {"generator": torch.optim.SGD([*there.parameters(), *back.parameters()], 1e-2)}
    given = {}
    if discriminators:
        given = {"discriminator_of_target": of_target, "discriminator_of_source": of_source}
        optimizers["discriminator"] = torch.optim.SGD([*of_target.parameters(), *of_source.parameters()], 1e-2)
    return CycleTranslation(there, back, losses or cyclegan(), optimizers, **given, **kw)


def batch(seed=1, size=2):
    torch.manual_seed(seed)
    return {"source": torch.rand(size, 1, 16, 16) * 2 - 1, "target": torch.rand(size, 1, 16, 16) * 2 - 1}


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_one_update_is_the_published_algorithm(recorder):
    """Zhu 2017 written out: least squares, λ = 10, half of it for the identity, half the discriminators' losses."""
    ours, data = method(pool_size=0), batch()
    by_hand = copy.deepcopy(ours.networks)
    losses = ours.update([data], recorder(ours))

    g1, g2 = by_hand["generator_to_target"], by_hand["generator_to_source"]
    d_y, d_x = by_hand["discriminator_of_target"], by_hand["discriminator_of_source"]
    x, y = data["source"], data["target"]
    fake_y, fake_x = g1(x), g2(y)
    adversarial = [((d_y(fake_y)[-1] - 1) ** 2).mean(), ((d_x(fake_x)[-1] - 1) ** 2).mean()]
    cycle = [(g2(fake_y) - x).abs().mean(), (g1(fake_x) - y).abs().mean()]
    identity = [(g1(y) - y).abs().mean(), (g2(x) - x).abs().mean()]
    total = sum(adversarial) + 10 * sum(cycle) + 5 * sum(identity)
    total.backward()
    expected = {"loss": total}
    for name, values in (("adversarial", adversarial), ("cycle", cycle), ("identity", identity)):
        expected |= dict(zip((f"{name}_to_target", f"{name}_to_source"), values, strict=True))
    for generator in (g1, g2):
        with torch.no_grad():
            for p in generator.parameters():
                p -= 1e-2 * p.grad
    of_discriminators = [
        ((d(real)[-1] - 1) ** 2).mean() + (d(fake.detach())[-1] ** 2).mean()
        for d, real, fake in ((d_y, y, fake_y), (d_x, x, fake_x))
    ]
    by_hand.zero_grad()
    (0.5 * sum(of_discriminators)).backward()
    expected["discriminator"] = 0.5 * sum(of_discriminators)
    for domain, value in zip(("target", "source"), of_discriminators, strict=True):
        expected[f"discriminator_adversarial_to_{domain}"] = value
    for discriminator in (d_y, d_x):
        with torch.no_grad():
            for p in discriminator.parameters():
                p -= 1e-2 * p.grad

    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name
    for name, network in by_hand.items():
        torch.testing.assert_close(weights(ours.networks[name]), weights(network), rtol=1e-5, atol=1e-7, msg=name)


def test_generators_are_updated_once_then_the_discriminators_which_are_frozen_before(recorder):
    ours = method()
    steps = recorder(ours)
    for _ in range(2):
        ours.update([batch()], steps)
    assert steps.order == ["generator", "discriminator"] * 2
    assert steps.trainable == [False, True] * 2


def test_generator_losses_leave_the_discriminators_alone_and_the_other_way_round(recorder):
    ours = method()
    states = []

    class Watching(recorder):
        def optimize(self, name, loss, parts):
            result = super().optimize(name, loss, parts)
            states.append({key: weights(network) for key, network in ours.networks.items()})
            if name == "generator":
                assert all(p.grad is None for n in ours.discriminators.values() for p in n.parameters())
            return result

    before = {key: weights(network) for key, network in ours.networks.items()}
    ours.update([batch()], Watching(ours))
    for key in ours.networks:
        generator = key.startswith("generator")
        assert torch.equal(before[key], states[0][key]) is not generator
        assert torch.equal(states[0][key], states[1][key]) is generator


def test_discriminators_see_images_alone():
    ours = method()
    seen = []
    for network in ours.discriminators.values():
        network.register_forward_pre_hook(lambda _, image: seen.append(image[0].shape[1]))
    candidates = ours.candidates(batch())
    assert len(candidates["target"].logits()) == 1
    assert seen == [1]


def test_an_image_is_translated_once_for_all_terms(recorder):
    counts = {}

    def counted(name, network):
        network.register_forward_hook(lambda *_: counts.update({name: counts.get(name, 0) + 1}))

    features = Features()
    terms = {
        **cyclegan(),
        "supervised": L1(10.0),
        "cycle_perceptual": Cycle(1.0, Perceptual(features, layers=(1, 1))),
        "cycle_style": Cycle(1.0, Style(features, layers=(1, 1))),
    }
    ours = method(terms)
    for name, network in ours.networks.items():
        counted(name, network)
    ours.update([batch()], recorder(ours))
    # each generator: its translation, the way back of the other's, the identity; no pass for the discriminators
    assert counts["generator_to_target"] == counts["generator_to_source"] == 3
    # each discriminator: the candidate for the generators, then the real and the pooled image
    assert counts["discriminator_of_target"] == counts["discriminator_of_source"] == 3
    assert features.calls == 4  # each image and its cycle


def test_generators_without_cycle_or_identity_term_pass_once(recorder):
    ours = method({"supervised": L1(10.0)}, discriminators=False)
    passes = []
    for network in ours.networks.values():
        network.register_forward_hook(lambda *_: passes.append(1))
    losses = ours.update([batch()], recorder(ours))
    assert len(passes) == 2
    assert set(losses) == {"loss", "supervised_to_target", "supervised_to_source"}
    assert set(ours.networks) == {"generator_to_target", "generator_to_source"}


def test_cycle_losses_of_features_are_the_equations_of_cycle_medgan(recorder):
    features = Features()
    ours = method(
        {
            "cycle_perceptual": Cycle(2.0, Perceptual(features, layers=(0.5, 2.0))),
            "cycle_style": Cycle(3.0, Style(features, layers=(1.0, 0.25))),
        },
        discriminators=False,
    )
    data, (g1, g2) = batch(), (copy.deepcopy(n) for n in ours.networks.values())
    losses = ours.update([data], recorder(ours))
    for image, cycled, direction in (
        (data["source"], g2(g1(data["source"])), "to_target"),
        (data["target"], g1(g2(data["target"])), "to_source"),
    ):
        with torch.no_grad():
            pairs = list(zip(features(image), features(cycled), strict=True))
        perceptual = sum(c * (a - b).abs().mean() for c, (a, b) in zip((0.5, 2.0), pairs, strict=True))
        style = 0
        for c, (a, b) in zip((1.0, 0.25), pairs, strict=True):
            depth, places = a.shape[1], a[0, 0].numel()
            grams = [torch.einsum("bmhw,bnhw->bmn", f, f) / (depth * places) for f in (a, b)]
            style += c * ((grams[0] - grams[1]) ** 2).sum((1, 2)).mean() / (4 * depth**2)
        assert losses[f"cycle_perceptual_{direction}"].item() == pytest.approx(perceptual.item(), rel=1e-4)
        assert losses[f"cycle_style_{direction}"].item() == pytest.approx(style.item(), rel=1e-4)


def test_the_supervised_term_compares_with_the_paired_truth(recorder):
    ours, data = method({"supervised": L1(10.0)}, discriminators=False), batch()
    with torch.no_grad():
        expected = (ours.generators["target"](data["source"]) - data["target"]).abs().mean().item()
        back = (ours.generators["source"](data["target"]) - data["source"]).abs().mean().item()
    losses = ours.update([data], recorder(ours))
    assert losses["supervised_to_target"].item() == pytest.approx(expected, rel=1e-6)
    assert losses["loss"].item() == pytest.approx(10 * (expected + back), rel=1e-6)


def test_discriminators_learn_from_the_pool(recorder):
    """Once the pool is full, half of what they see is older than the batch."""
    ours, old = method(pool_size=4), 0
    for step in range(12):
        data = batch(seed=step)
        shown = []
        hook = ours.discriminators["target"].register_forward_pre_hook(
            lambda m, x, to=shown: to.append((m.training, x[0]))
        )
        with torch.no_grad():
            new = ours.generators["target"](data["source"])
        torch.manual_seed(step)
        ours.update([data], recorder(ours))
        hook.remove()
        synthetic = next(x for training, x in shown if training and not torch.equal(x, data["target"]))
        different = sum(not torch.allclose(a, b) for a, b in zip(synthetic, new, strict=True))
        assert different == 0 or step >= 2
        old += different
    assert 3 <= old <= 17
    assert len(ours.pools["target"].images) == len(ours.pools["source"].images) == 4


def test_parts_of_a_batch_give_the_update_of_the_whole(recorder):
    whole, parts, data = method(), method(), batch(size=4)
    torch.manual_seed(5)
    first = whole.update([data], recorder(whole))
    torch.manual_seed(5)
    split = [{k: v[:3] for k, v in data.items()}, {k: v[3:] for k, v in data.items()}]
    second = parts.update(split, recorder(parts))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert second[name].item() == pytest.approx(value.item(), rel=1e-4), name
    torch.testing.assert_close(weights(whole), weights(parts), rtol=1e-4, atol=1e-6)


def test_source_and_target_need_neither_the_same_subject_nor_the_same_size(recorder):
    ours, data = method(), batch()
    data["target"] = F.pad(data["target"], (0, 4, 0, 8))
    losses = ours.update([data], recorder(ours))
    assert all(torch.isfinite(value) for value in losses.values())


def test_the_pools_are_part_of_a_checkpoint():
    assert {"pool_target", "pool_source"} <= set(method().stateful())


def test_one_discriminator_is_not_enough():
    there, back = (nn.Conv2d(1, 1, 1) for _ in range(2))
    optimizers = {"generator": torch.optim.SGD(there.parameters(), 1e-2)}
    with pytest.raises(ValueError, match="discriminators of both domains"):
        CycleTranslation(there, back, cyclegan(), optimizers, discriminator_of_target=nn.Conv2d(1, 1, 1))


def test_a_term_that_the_method_cannot_serve_is_named(recorder):
    from medtrans.losses import Reconstruction

    ours = method({"reconstruction": Reconstruction()}, discriminators=False)
    with pytest.raises(ValueError, match="needs the reconstructed image"):
        ours.update([batch()], recorder(ours))
