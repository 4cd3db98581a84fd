"""BiGAN: both kinds of pairs, gradients to encoder and generator, reconstruction."""

import copy

import pytest
import torch

from medtrans import InputError
from medtrans.losses import JointAdversarial, Reconstruction
from medtrans.methods import BiGANPretraining
from medtrans.networks import BiGAN, BiGANDiscriminator

THIN = {"channels": (4, 8), "code": 6}
WIDER = {"channels": (8, 16), "code": 16}


def method(losses=None, shape=THIN, **kw):
    torch.manual_seed(0)
    network, discriminator = BiGAN(2, 1, [16, 16], **shape), BiGANDiscriminator(2, 1, [16, 16], joint=16, **shape)
    optimizers = {
        "generator": torch.optim.SGD(network.parameters(), 1e-2),
        "discriminator": torch.optim.SGD(discriminator.parameters(), 1e-2),
    }
    losses = losses or {"adversarial": JointAdversarial(), "reconstruction": Reconstruction(10.0)}
    return BiGANPretraining(network, discriminator, losses, optimizers, **kw)


def batch(size=4):
    torch.manual_seed(1)
    return {"source": torch.rand(size, 1, 16, 16) * 2 - 1}


def minus_log(logits):
    return -torch.log(torch.sigmoid(logits)).mean()


def test_losses_are_the_papers_objective_with_swapped_labels(recorder):
    ours, data = method(), batch()
    network, judge = copy.deepcopy(ours.network), copy.deepcopy(ours.discriminator)
    torch.manual_seed(7)
    losses = ours.update([data], recorder(ours))
    torch.manual_seed(7)
    with torch.no_grad():
        image = data["source"]
        network.train(), judge.eval()
        code = network(image, to="code")
        drawn = torch.rand_like(code) * 2 - 1
        generated = network(drawn, of="code")
        real, fake = judge(image, code)[-1], judge(generated, drawn)[-1]
        reconstruction = (network(code, of="code") - image).abs().mean()
        judge.train()
        of_discriminator = minus_log(judge(image, code)[-1]), minus_log(-judge(generated, drawn)[-1])
    adversarial = minus_log(fake) + minus_log(-real)
    assert losses["adversarial"].item() == pytest.approx(adversarial.item(), rel=1e-5)
    assert losses["reconstruction"].item() == pytest.approx(reconstruction.item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx((adversarial + 10 * reconstruction).item(), rel=1e-5)
    # The power iteration goes on in between, so that the discriminator's own values differ a little.
    assert losses["discriminator"].item() == pytest.approx(sum(of_discriminator).item(), rel=1e-2)
    assert set(losses) == {"loss", "adversarial", "reconstruction", "discriminator", "discriminator_adversarial"}


def test_the_discriminator_is_updated_with_the_images_and_codes_that_the_generator_update_made(recorder):
    ours = method()
    parts = {"encoder": ours.network.encoder, "generator": ours.network.generator, "discriminator": ours.discriminator}
    counts, shown = dict.fromkeys(parts, 0), []
    for name, network in parts.items():
        network.register_forward_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    ours.discriminator.register_forward_pre_hook(
        lambda _, image, code: shown.append((image[0].detach(), code["code"].detach())), with_kwargs=True
    )
    ours.update([batch()], recorder(ours))
    assert counts == {
        "encoder": 1,  # the image, for both players and the reconstruction
        "generator": 2,  # the drawn code, and the image's for the reconstruction
        "discriminator": 4,  # both kinds of pairs for the generators, and again with gradients of its own
    }
    of_generators, of_discriminator = ({image.sum().item(): code for image, code in shown[i : i + 2]} for i in (0, 2))
    assert of_generators.keys() == of_discriminator.keys()
    assert all(torch.equal(code, of_discriminator[image]) for image, code in of_generators.items())


def test_without_reconstruction_no_code_is_decoded_for_it(recorder):
    ours = method({"adversarial": JointAdversarial()})
    passes = []
    ours.network.generator.register_forward_hook(lambda *_: passes.append(1))
    ours.update([batch()], recorder(ours))
    assert len(passes) == 1


@pytest.mark.parametrize("form", ["log", "least_squares", "hinge"])
def test_encoder_and_generator_both_learn_from_the_adversarial_term(recorder, form):
    ours = method({"adversarial": JointAdversarial(form=form)})
    steps = recorder(ours)
    ours.update([batch()], steps)
    assert steps.order == ["generator", "discriminator"]
    assert steps.trainable == [False, True]
    for part in (ours.network.encoder, ours.network.generator):
        assert max(p.grad.abs().max().item() for p in part.parameters()) > 0


@pytest.mark.parametrize("form", ["log", "least_squares", "hinge"])
def test_being_taken_for_each_other_costs_least(form):
    class Image:
        def __init__(self, logits):
            self.value = torch.tensor([[logits]])

        def logits(self):
            return [self.value]

    term = JointAdversarial(form=form)
    synthetic_as_real, real_as_synthetic = Image(3.0), Image(0.0 if form == "least_squares" else -3.0)
    synthetic_as_synthetic, real_as_real = Image(-3.0), Image(3.0)
    best = term(synthetic_as_real, real_as_synthetic)
    assert best < term(synthetic_as_real, real_as_real)
    assert best < term(synthetic_as_synthetic, real_as_synthetic)
    assert term.discriminator_loss(Image(-1.0), Image(1.0)) < term.discriminator_loss(Image(1.0), Image(-1.0))


def test_the_prior_is_a_setting(recorder):
    drawn = {}
    for prior in ("uniform", "normal"):
        ours = method(prior=prior)
        codes = []
        ours.network.generator.register_forward_pre_hook(lambda _, code, to=codes: to.append(code[0].detach()))
        torch.manual_seed(3)
        ours.update([batch(64)], recorder(ours))
        drawn[prior] = codes[0]
    assert drawn["uniform"].abs().max() <= 1
    assert drawn["uniform"].std().item() == pytest.approx((1 / 3) ** 0.5, rel=0.1)
    assert drawn["normal"].std().item() == pytest.approx(1, rel=0.1)
    with pytest.raises(InputError, match="uniform, normal"):
        method(prior="gamma")


def test_the_gradient_penalty_is_refused():
    with pytest.raises(InputError, match="does not go with a BiGAN"):
        JointAdversarial(form="wasserstein")


def test_it_learns_to_reconstruct(recorder):
    """Blobs at random places: with the reconstruction term the held-out error falls, without it it does not."""

    def blobs(seed, count=16):
        generator = torch.Generator().manual_seed(seed)
        centre = torch.rand(count, 2, 1, 1, generator=generator) * 10 + 3
        grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
        return {"source": (2 * torch.exp(-((grid - centre) ** 2).sum(1, keepdim=True) / 8) - 1)}

    errors = {}
    for weight in (10.0, 0.0):
        ours = method({"adversarial": JointAdversarial(), "reconstruction": Reconstruction(weight)}, WIDER)
        ours.optimizers = {
            "generator": torch.optim.Adam(ours.network.parameters(), 2e-3, (0.5, 0.999)),
            "discriminator": torch.optim.Adam(ours.discriminator.parameters(), 2e-3, (0.5, 0.999)),
        }
        for step in range(100):
            torch.manual_seed(step)
            ours.train()
            ours.update([blobs(step)], recorder(ours))
        held_out = blobs(1000)["source"]
        with torch.no_grad():
            errors[weight] = (ours.network.eval()(held_out) - held_out).abs().mean().item()
    constant = (held_out - held_out.median()).abs().mean().item()
    assert errors[10.0] < 0.8 * constant
    assert errors[10.0] < 0.7 * errors[0.0]
