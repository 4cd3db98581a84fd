"""Paired translation: Algorithm 1's order, the frozen discriminator, what is looked at once."""

import pytest
import torch

from medtrans.losses import L1, Adversarial, DiscriminatorPerceptual
from medtrans.methods import PairedTranslation, frozen
from medtrans.networks import CasNet, PatchDiscriminator


class Recorder:
    """A stepper that does what the engine does and writes down the order."""

    def __init__(self, method):
        self.method, self.order, self.trainable = method, [], []

    def optimize(self, name, loss, parts):
        self.order.append(name)
        self.trainable.append(all(p.requires_grad for p in self.method.discriminator.parameters()))
        optimizer = self.method.optimizers[name]
        optimizer.zero_grad()
        total, values = loss(parts[0])
        total.backward()
        optimizer.step()
        return {"total": total.detach(), **{k: v.detach() for k, v in values.items()}}


def method(losses=None, **kw):
    torch.manual_seed(0)
    generator = CasNet(2, 1, 1, blocks=1, channels=(4, 8))
    discriminator = PatchDiscriminator(2, 2, channels=4, spectral=True)
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), 1e-3),
        "discriminator": torch.optim.Adam(discriminator.parameters(), 1e-3),
    }
    losses = losses or {"adversarial": Adversarial(), "perceptual": DiscriminatorPerceptual(20.0)}
    return PairedTranslation(generator, losses, optimizers, discriminator, **kw)


def batch():
    torch.manual_seed(1)
    return {"source": torch.rand(2, 1, 16, 16) * 2 - 1, "target": torch.rand(2, 1, 16, 16) * 2 - 1}


def test_three_generator_updates_then_one_of_the_discriminator():
    medgan = method()
    recorder = Recorder(medgan)
    medgan.update([batch()], recorder)
    medgan.update([batch()], recorder)
    assert recorder.order == ["generator", "generator", "generator", "discriminator"] * 2


def test_the_number_of_generator_updates_is_a_setting():
    medgan = method(generator_steps=1)
    recorder = Recorder(medgan)
    medgan.update([batch()], recorder)
    assert recorder.order == ["generator", "discriminator"]


def test_generator_losses_send_no_gradient_to_the_discriminator():
    medgan = method()

    class GeneratorOnly(Recorder):
        def optimize(self, name, loss, parts):
            if name == "discriminator":
                return {"total": torch.zeros(()), "adversarial": torch.zeros(())}
            return super().optimize(name, loss, parts)

    before = [p.clone() for p in medgan.discriminator.parameters()]
    recorder = GeneratorOnly(medgan)
    medgan.update([batch()], recorder)
    assert recorder.trainable == [False] * 3
    assert all(p.grad is None for p in medgan.discriminator.parameters())
    assert all(torch.equal(p, q) for p, q in zip(before, medgan.discriminator.parameters(), strict=True))
    assert all(p.grad is not None for p in medgan.generator.parameters())


def test_the_discriminator_step_does_not_touch_the_generator():
    medgan = method()
    recorder = Recorder(medgan)
    states = []

    class Watching(Recorder):
        def optimize(self, name, loss, parts):
            result = super().optimize(name, loss, parts)
            states.append([p.detach().clone() for p in medgan.generator.parameters()])
            return result

    medgan.update([batch()], Watching(medgan))
    assert all(torch.equal(p, q) for p, q in zip(states[2], states[3], strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(states[1], states[2], strict=True))
    assert recorder.order == []


def test_the_target_is_shown_to_the_frozen_discriminator_once_a_batch():
    medgan = method()
    seen = []
    medgan.discriminator.register_forward_pre_hook(lambda _, image: seen.append(image[0][:, :1].clone()))
    data = batch()
    medgan.update([data], Recorder(medgan))
    of_target = [torch.equal(image, data["target"]) for image in seen]
    assert sum(of_target) == 2  # once for the three generator updates, once for the discriminator's own
    assert len(seen) == 3 + 1 + 2


def test_caching_the_target_changes_nothing():
    data = batch()
    cached, literal = method(), method()
    for _ in range(2):
        cached.update([data], Recorder(cached))
    for _ in range(2):  # Algorithm 1 written out, nothing kept
        source, target = data["source"], data["target"]
        with frozen(literal.discriminator):
            for _ in range(3):
                literal.optimizers["generator"].zero_grad()
                fake = literal.generator(source)
                *hidden, logits = literal.discriminator(torch.cat([fake, source], 1))
                *wanted, _ = literal.discriminator(torch.cat([target, source], 1))
                adversarial = torch.nn.functional.softplus(-logits).mean()
                perceptual = sum(
                    (a - b.detach()).abs().mean() for a, b in zip([fake, *hidden], [target, *wanted], strict=True)
                )
                (adversarial + 20 * perceptual).backward()
                literal.optimizers["generator"].step()
        literal.optimizers["discriminator"].zero_grad()
        real = literal.discriminator(torch.cat([target, source], 1))[-1]
        fake = literal.discriminator(torch.cat([literal.generator(source).detach(), source], 1))[-1]
        (torch.nn.functional.softplus(-real).mean() + torch.nn.functional.softplus(fake).mean()).backward()
        literal.optimizers["discriminator"].step()
    for p, q in zip(cached.parameters(), literal.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_losses_are_reported_by_name():
    medgan = method({"adversarial": Adversarial(), "l1": L1(100.0)})
    losses = medgan.update([batch()], Recorder(medgan))
    assert set(losses) == {"loss", "adversarial", "l1", "discriminator", "discriminator_adversarial"}


def test_a_method_without_discriminator_trains_the_generator_alone():
    generator = CasNet(2, 1, 1, blocks=1, channels=(4, 8))
    plain = PairedTranslation(generator, {"l1": L1()}, {"generator": torch.optim.Adam(generator.parameters())})
    assert set(plain.networks) == {"generator"}
    with pytest.raises(ValueError, match="needs a discriminator"):
        PairedTranslation(
            generator, {"adversarial": Adversarial()}, {"generator": torch.optim.Adam(generator.parameters())}
        )


def test_labels_of_the_batch_reach_the_terms():
    seen = []

    class Watching(L1):
        def forward(self, candidate, target):
            seen.append(target.label)
            return super().forward(candidate, target)

    labelled = method({"l1": Watching(), "adversarial": Adversarial()}, generator_steps=1)
    label = torch.ones(2, 1, 16, 16)
    for value in (label, ["a path that was not read"] * 2):
        labelled.update([batch() | {"label": value}], Recorder(labelled))
    assert seen[0] is label
    assert seen[1] is None


def test_frozen_restores_what_it_found():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.Dropout())
    network.train()
    with frozen(network, None):
        assert not network.training
        assert not network[0].weight.requires_grad
    assert network.training
    assert network[0].weight.requires_grad
