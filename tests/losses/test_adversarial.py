"""Adversarial forms equal their formulas; the gradient penalty equals finite differences and trains a discriminator."""

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from medtrans import InputError
from medtrans.engines import TranslationTrainer
from medtrans.losses import L1, Adversarial, LossTerms, Observed
from medtrans.losses.adversarial import FORMS, gradient_penalty
from medtrans.methods import PairedTranslation
from medtrans.networks import CasNet, PatchDiscriminator


class Linear(nn.Module):
    """Logits whose mean over the patches is Σ_v w_v x_v of the first channel plus something of the second."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, pair):
        return [self.weights * pair[:, :1] * self.weights.numel() + pair[:, 1:] ** 2]


def discriminator(dims=2, spectral=True):
    torch.manual_seed(2)
    return PatchDiscriminator(dims, 2, channels=4, spectral=spectral)


def logits(network, observed):
    with torch.no_grad():
        return network(torch.cat([observed.image, observed.source], 1))[-1].numpy()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("form", "of_generator", "of_discriminator"),
    [
        ("hinge", lambda z: -z.mean(), lambda x, g: np.maximum(0, 1 - x).mean() + np.maximum(0, 1 + g).mean()),
        ("wasserstein", lambda z: -z.mean(), lambda x, g: g.mean() - x.mean()),
    ],
)
def test_forms_are_their_formulas(form, of_generator, of_discriminator, dims, pair):
    network = discriminator(dims).double().eval()
    candidate, target = pair((2, 1, *[16] * dims), discriminator=network)
    fake, real = logits(network, candidate), logits(network, target)
    term = Adversarial(form=form, penalty=0)
    assert term(candidate, target).item() == pytest.approx(of_generator(fake), rel=1e-10)
    assert term.discriminator_loss(candidate, target).item() == pytest.approx(of_discriminator(real, fake), rel=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_being_taken_for_real_costs_less_and_telling_apart_too(form):
    image, term = torch.zeros(2, 1, 4, 4), Adversarial(form=form)

    def observed(verdict):
        return Observed(image, discriminator=lambda x: [torch.full_like(x, verdict) + 0 * x])

    assert term(observed(0.5), observed(1.0)) < term(observed(-1.0), observed(1.0))
    told_apart = term.discriminator_loss(observed(0.0 if form == "least_squares" else -1.0), observed(1.0))
    assert told_apart < term.discriminator_loss(observed(0.5), observed(1.0))


def test_the_penalty_of_a_linear_discriminator_is_known(pair):
    weights = torch.rand(1, 1, 6, 5, dtype=torch.float64)
    candidate, target = pair((3, 1, 6, 5), discriminator=Linear(weights))
    expected = (weights.square().sum().sqrt().item() - 1) ** 2
    assert gradient_penalty(candidate, target).item() == pytest.approx(expected, rel=1e-9)
    plain = Adversarial(form="wasserstein", penalty=0).discriminator_loss(candidate, target)
    whole = Adversarial(form="wasserstein", penalty=10).discriminator_loss(candidate, target)
    assert (whole - plain).item() == pytest.approx(10 * expected, rel=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_penalty_is_that_of_finite_differences_between_target_and_candidate(dims, pair):
    network = discriminator(dims).double().eval()
    size = {2: 10, 3: 7}[dims]
    candidate, target = pair((2, 1, *[size] * dims), discriminator=network)
    torch.manual_seed(7)
    found = gradient_penalty(candidate, target).item()
    torch.manual_seed(7)
    share = torch.rand(2, *[1] * (dims + 1), dtype=torch.float64)
    point = (share * target.image + (1 - share) * candidate.image).numpy()
    penalties = []
    for index in range(2):
        source = candidate.source[index : index + 1]

        def score(values, source=source):
            image = torch.from_numpy(values.reshape(1, 1, *[size] * dims))
            return network(torch.cat([image, source], 1))[-1].mean().item()

        flat, gradient = point[index].ravel(), np.zeros(size**dims)
        with torch.no_grad():
            for voxel in range(flat.size):
                step = np.zeros_like(flat)
                step[voxel] = 1e-5
                gradient[voxel] = (score(flat + step) - score(flat - step)) / 2e-5
        penalties.append((np.linalg.norm(gradient) - 1) ** 2)
    assert found == pytest.approx(np.mean(penalties), rel=1e-5)


@pytest.mark.parametrize("spectral", [False, True])
def test_the_second_derivative_reaches_the_weights_of_the_discriminator(spectral, pair):
    network = discriminator(spectral=spectral).double().eval()
    candidate, target = pair((2, 1, 10, 10), discriminator=network)
    name, weight = next((n, p) for n, p in network.named_parameters() if p.ndim == 4)

    def penalty():
        torch.manual_seed(3)
        return gradient_penalty(candidate, target)

    penalty().backward()
    step = torch.zeros_like(weight)
    step.view(-1)[5] = 1e-6
    values = []
    for sign in (1, -1):
        weight.data += sign * step
        values.append(penalty().item())
        weight.data -= sign * step
    assert weight.grad.view(-1)[5].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4), name


def test_a_flat_discriminator_gives_a_finite_gradient(pair):
    network = Linear(torch.zeros(1, 1, 6, 5, dtype=torch.float64))
    gradient_penalty(*pair((2, 1, 6, 5), discriminator=network)).backward()
    assert torch.isfinite(network.weights.grad).all()


def test_under_autocast_the_penalty_stays_in_single_precision(pair):
    network = discriminator().eval()
    candidate, target = pair((2, 1, 16, 16), torch.float32, discriminator=network)
    values = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            values.append(gradient_penalty(candidate, target).item())
    assert values[0] == values[1]


def trainer(parts=1, compiled=False, precision="fp32", **adversarial):
    torch.manual_seed(0)
    generator = CasNet(2, 1, 1, blocks=1, channels=(4, 8))
    network = discriminator()
    if compiled:
        network.compile(backend="aot_eager")
    optimizers = {
        "generator": torch.optim.Adam(generator.parameters(), 1e-3, (0.0, 0.9)),
        "discriminator": torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.9)),
    }
    losses = {"adversarial": Adversarial(form="wasserstein", **adversarial), "l1": L1(10.0)}
    method = PairedTranslation(generator, losses, optimizers, network, generator_steps=1)
    batch = {"source": torch.rand(4, 1, 16, 16) * 2 - 1, "target": torch.rand(4, 1, 16, 16) * 2 - 1}
    return TranslationTrainer("cpu", 3, [batch], method, accumulation=parts, precision=precision)


@pytest.mark.parametrize("settings", [{}, {"parts": 2}, {"precision": "bf16"}, {"compiled": True}])
def test_it_trains_in_the_engine(settings):
    run = trainer(**settings)
    before = {name: p.detach().clone() for name, p in run.method.discriminator.named_parameters()}
    run.run()
    assert all(torch.isfinite(p).all() for p in run.method.parameters())
    same = [name for name, p in run.method.discriminator.named_parameters() if torch.equal(p, before[name])]
    assert same == ["final_conv.conv.bias"]  # it cancels in the difference, and has no gradient to the image


def test_the_penalty_draws_the_norm_of_the_gradient_to_one(pair):
    network = discriminator(spectral=False)
    term = LossTerms({"adversarial": Adversarial(form="wasserstein")})
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, (0.0, 0.9))

    def observed():
        return pair((4, 1, 16, 16), torch.float32, discriminator=network)

    def norm():
        images = observed()[1]
        image = images.image.clone().requires_grad_()
        score = network(torch.cat([image, images.source], 1))[-1].flatten(1).mean(1).sum()
        return torch.autograd.grad(score, image)[0].flatten(1).norm(dim=1).mean().item()

    start = norm()
    for _ in range(60):
        optimizer.zero_grad()
        term.discriminator_loss(*observed())[0].backward()
        optimizer.step()
    assert start < 0.5
    assert norm() == pytest.approx(1.0, abs=0.35)


def _gradient_in_process(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    network = discriminator()
    wrapped = nn.parallel.DistributedDataParallel(network)
    images = torch.load(f"{folder}/images.pt")
    source, real, fake = (image[2 * rank : 2 * rank + 2] for image in images)
    observed = [Observed(image, source, None, wrapped) for image in (fake, real)]
    torch.rand = lambda *shape, **kw: torch.full(shape, 0.3, **kw)
    Adversarial(form="wasserstein").discriminator_loss(*observed).backward()
    torch.save([p.grad for p in network.parameters()], f"{folder}/gradients_{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_the_whole_batch(tmp_path, monkeypatch):
    images = [torch.rand(4, 1, 16, 16) * 2 - 1 for _ in range(3)]
    torch.save(images, tmp_path / "images.pt")
    mp.spawn(_gradient_in_process, (tmp_path,), nprocs=2)
    network = discriminator()
    source, real, fake = images
    monkeypatch.setattr(torch, "rand", lambda *shape, **kw: torch.full(shape, 0.3, **kw))
    observed = [Observed(image, source, None, network) for image in (fake, real)]
    Adversarial(form="wasserstein").discriminator_loss(*observed).backward()
    for rank in (0, 1):
        for found, p in zip(torch.load(tmp_path / f"gradients_{rank}.pt"), network.parameters(), strict=True):
            torch.testing.assert_close(found, p.grad, rtol=1e-3, atol=1e-6)


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="log, least_squares, hinge, wasserstein"):
        Adversarial(form="wgan")


@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_the_generators_loss(form, pair, gradient_is_right):
    network = discriminator().double().eval()
    assert gradient_is_right(Adversarial(form=form), *pair((1, 1, 10, 10), discriminator=network), fast=True)
