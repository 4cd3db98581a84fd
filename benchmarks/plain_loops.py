"""One training step of each method as its paper or public code writes it: what medtrans' steps are measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, softplus

from medtrans.engines.precision import autocast
from medtrans.losses import LossTerm
from medtrans.losses.adversarial import Adversarial
from medtrans.losses.cycle import Cycle
from medtrans.losses.identity import Identity
from medtrans.losses.perceptual import Perceptual
from medtrans.losses.pixel import L1
from medtrans.losses.style_content import Content, Style, gram_matrix
from medtrans.methods import BiGANPretraining, CycleTranslation, Method, PairedTranslation, UnitTranslation

Batch = dict[str, Tensor]
Loop = Callable[[Method, Batch, torch.dtype | None], None]


def plain_loop(method: Method) -> tuple[str, Loop] | None:
    """Name and step of the method's plain loop; None where none is written here."""
    if isinstance(method, PairedTranslation) and method.discriminator is not None:
        return "literal Algorithm 1", literal_algorithm_1
    if isinstance(method, CycleTranslation):
        return "plain CycleGAN loop", plain_cycle_loop
    if isinstance(method, UnitTranslation):
        return "plain UNIT loop", plain_unit_loop
    if isinstance(method, BiGANPretraining):
        return "plain BiGAN loop", plain_bigan_loop
    return None


def literal_algorithm_1(method: Method, batch: Batch, dtype: torch.dtype | None) -> None:
    """MedGAN's Algorithm 1 as it is printed: every loss computes what it needs, nothing is kept."""
    assert isinstance(method, PairedTranslation)
    generator, discriminator, terms = method.generator, method.discriminator, method.losses.terms
    assert isinstance(discriminator, nn.Module)
    y, x = batch["source"], batch["target"]
    device = y.device
    weight = {name: float(getattr(term, "weight", 0.0)) for name, term in terms.items()}

    def judged(image: Tensor) -> list[Tensor]:
        return discriminator(torch.cat([image, y], 1))

    for _ in range(method.generator_steps):
        method.optimizers["generator"].zero_grad()
        with autocast(dtype, device):
            fake = generator(y).float()
            loss = weight.get("adversarial", 0.0) * softplus(-judged(fake)[-1].float()).mean()
            found, wanted = judged(fake)[:-1], judged(x)[:-1]
            perceptual = l1_loss(fake, x) + sum(
                l1_loss(f.float(), w.float()) for f, w in zip(found, wanted, strict=True)
            )
            loss = loss + weight.get("perceptual", 0.0) * perceptual
            for name, term in terms.items():
                if isinstance(term, Style | Content) and weight[name]:
                    loss = loss + weight[name] * compared(term, fake, x)
        loss.backward()
        method.optimizers["generator"].step()
    method.optimizers["discriminator"].zero_grad()
    with autocast(dtype, device):
        real, fake_logits = judged(x)[-1].float(), judged(generator(y).detach().float())[-1].float()
        loss = softplus(-real).mean() + softplus(fake_logits).mean()
    loss.backward()
    method.optimizers["discriminator"].step()


def plain_cycle_loop(method: Method, batch: Batch, dtype: torch.dtype | None) -> None:
    """CycleGAN's step as its public implementation takes it, and each further loss by itself.

    Both generators pass once for the translation, the cycle and the identity; the discriminators learn from the
    translations that were made, by way of the pools. Losses of features look at image and cycle each for itself.
    """
    assert isinstance(method, CycleTranslation)
    there, back = method.generators["target"], method.generators["source"]
    x, y, terms = batch["source"], batch["target"], method.losses.terms.values()
    discriminators = [d for d in method.discriminators.values() if d is not None]
    for discriminator in discriminators:
        discriminator.requires_grad_(False)
    method.optimizers["generator"].zero_grad()
    with autocast(dtype, x.device):
        fakes = {"target": there(x).float(), "source": back(y).float()}
        loss = torch.zeros((), device=x.device)
        for domain, original, real, forth, again in (("target", x, y, there, back), ("source", y, x, back, there)):
            cycled: Tensor | None = None
            for term in terms:
                weight = float(getattr(term, "weight", 0.0))
                if isinstance(term, Cycle) and weight:
                    cycled = again(fakes[domain]).float() if cycled is None else cycled
                    loss = loss + weight * compared(term.distance, cycled, original)
                elif isinstance(term, Identity) and weight:
                    loss = loss + weight * compared(term.distance, forth(real).float(), real)
                elif isinstance(term, Adversarial) and weight:
                    logits = method.discriminators[domain](fakes[domain])[-1].float()  # type: ignore[misc]
                    loss = loss + weight * mse_loss(logits, torch.ones_like(logits))
                elif isinstance(term, L1) and weight:
                    loss = loss + weight * l1_loss(fakes[domain], real)
    loss.backward()
    method.optimizers["generator"].step()
    for discriminator in discriminators:
        discriminator.requires_grad_(True)
    adversarial = next((term for term in terms if isinstance(term, Adversarial)), None)
    if adversarial is None:
        return
    method.optimizers["discriminator"].zero_grad()
    with autocast(dtype, x.device):
        loss = torch.zeros((), device=x.device)
        for domain, real in (("target", y), ("source", x)):
            judge = method.discriminators[domain]
            assert judge is not None
            true, false = judge(real)[-1].float(), judge(method.pools[domain].exchange(fakes[domain]))[-1].float()
            loss = loss + mse_loss(true, torch.ones_like(true)) + mse_loss(false, torch.zeros_like(false))
        loss = adversarial.discriminator_weight * loss
    loss.backward()
    method.optimizers["discriminator"].step()


def plain_unit_loop(method: Method, batch: Batch, dtype: torch.dtype | None) -> None:
    """UNIT's step as its public implementations take it: each of the two updates encodes and translates for itself."""
    assert isinstance(method, UnitTranslation)
    network, terms = method.network, method.losses.terms
    weight = {name: float(getattr(term, "weight", 0.0)) for name, term in terms.items()}
    ways = {"target": "source", "source": "target"}
    judges = {domain: judge for domain, judge in method.discriminators.items() if judge is not None}

    def taken(judge: nn.Module, image: Tensor, real: bool) -> Tensor:
        maps = [scale[-1].float() for scale in judge(image)]
        return torch.stack([softplus(-logits if real else logits).mean() for logits in maps]).sum()

    with autocast(dtype, batch["source"].device):
        with torch.no_grad():  # what the discriminators will learn from
            means = {domain: network(batch[origin], origin, "code") for domain, origin in ways.items()}
            noise = {domain: torch.randn_like(mean) for domain, mean in means.items()}
            made = {domain: network(means[domain] + noise[domain], "code", domain).float() for domain in ways}
        losses = []
        for domain, origin in ways.items():
            image = batch[origin]
            mean = network(image, origin, "code")
            code = mean + noise[domain]
            fake = network(code, "code", domain).float()
            again = network(fake, domain, "code")
            cycled = network(again + torch.randn_like(again), "code", origin).float()
            losses += [
                weight["adversarial"] * taken(judges[domain], fake, real=True),
                weight["reconstruction"] * l1_loss(network(code, "code", origin).float(), image),
                weight["divergence"] * mean.float().square().mean(),
                weight["cycle"] * l1_loss(cycled, image),
                weight["cycle_divergence"] * again.float().square().mean(),
            ]
    method.optimizers["generator"].zero_grad()
    torch.stack(losses).sum().backward()
    method.optimizers["generator"].step()
    method.optimizers["discriminator"].zero_grad()
    with autocast(dtype, batch["source"].device):
        told = [taken(judges[d], batch[d], real=True) + taken(judges[d], made[d], real=False) for d in ways]
        loss = terms["adversarial"].discriminator_weight * torch.stack(told).sum()  # type: ignore[operator]
    loss.backward()
    method.optimizers["discriminator"].step()


def plain_bigan_loop(method: Method, batch: Batch, dtype: torch.dtype | None) -> None:
    """BiGAN's step with reconstruction: encoder and generator against the discriminator, then the discriminator."""
    assert isinstance(method, BiGANPretraining)
    network, judge, x = method.network, method.discriminator, batch["source"]
    weight = {name: float(getattr(term, "weight", 0.0)) for name, term in method.losses.terms.items()}
    judge.requires_grad_(False)
    method.optimizers["generator"].zero_grad()
    with autocast(dtype, x.device):
        code = network(x, to="code")
        drawn = torch.rand_like(code) * 2 - 1
        generated = network(drawn, of="code").float()
        loss = softplus(-judge(generated, drawn)[-1].float()).mean() + softplus(judge(x, code)[-1].float()).mean()
        loss = weight["adversarial"] * loss
        loss = loss + weight["reconstruction"] * l1_loss(network(code, of="code").float(), x)
    loss.backward()
    method.optimizers["generator"].step()
    judge.requires_grad_(True)
    method.optimizers["discriminator"].zero_grad()
    with autocast(dtype, x.device):
        true, false = judge(x, code.detach())[-1].float(), judge(generated.detach(), drawn)[-1].float()
        loss = softplus(-true).mean() + softplus(false).mean()
    loss.backward()
    method.optimizers["discriminator"].step()


def compared(distance: LossTerm, found: Tensor, wanted: Tensor) -> Tensor:
    """A loss between two images, its own weight aside; the extractor sees both anew."""
    if isinstance(distance, L1):
        return l1_loss(found, wanted)
    assert isinstance(distance, Perceptual | Style | Content)
    maps = zip(distance.extractor(found), distance.extractor(wanted), strict=True)
    of_layers = [_of_layer(distance, f.float(), w.float()) for f, w in maps]
    return _weighted(of_layers, distance.layers)


def _of_layer(distance: LossTerm, found: Tensor, wanted: Tensor) -> Tensor:
    if isinstance(distance, Perceptual):
        return l1_loss(found, wanted)
    if isinstance(distance, Content):
        return mse_loss(found, wanted)
    return (gram_matrix(found) - gram_matrix(wanted)).square().sum((1, 2)).mean() / (4 * found.shape[1] ** 2)


def _weighted(values: Sequence[Tensor], layers: Sequence[float] | None) -> Tensor:
    weights = (1.0,) * len(values) if layers is None else layers
    return torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum()
