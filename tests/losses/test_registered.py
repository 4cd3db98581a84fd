"""The registered loss: equal to the plain one at the start, what moves what, what it prices, what it shares."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from medtrans.losses import L1, Adversarial, LossTerms, Observed, Registered
from medtrans.losses.deformation import warped
from medtrans.networks import DeformationNet, PatchDiscriminator


class Shifting(nn.Module):
    """A registration network that says the same shift everywhere."""

    def __init__(self, *voxels):
        super().__init__()
        self.voxels, self.calls = nn.Parameter(torch.tensor(voxels)), 0

    def forward(self, moving, fixed):
        self.calls += 1
        return self.voxels.view(1, -1, *[1] * len(self.voxels)).expand(len(moving), -1, *moving.shape[2:])


def smooth_images(count, size=(32, 32), seed=0, width=2.0):
    """Random images ``(count, 1, *size)`` in [-1, 1] with structures of some voxels."""
    noise = np.random.default_rng(seed).normal(size=(count, *size))
    images = gaussian_filter(noise, (0, *[width] * len(size)))
    return torch.tensor(np.tanh(1.5 * images / images.std()), dtype=torch.float32)[:, None]


@pytest.mark.parametrize(("shape", "dims"), [((2, 1, 20, 24), 2), ((1, 3, 9, 11, 8), 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_plain_loss_at_the_start(pair, shape, dims, masked):
    candidate, target = pair(shape, torch.float32)
    network = DeformationNet(dims, shape[1], (4, 4, 4, 4))
    plain, registered = L1(masked=masked), Registered(L1(masked=masked), network)
    assert registered(candidate, target).item() == pytest.approx(plain(candidate, target).item(), rel=1e-4)
    assert all(value == 0 for value in registered.measured(candidate, target).values())


def test_the_field_undoes_a_shift_and_its_sign_and_units_are_those_of_voxels():
    """The target is the output moved by +3 voxels along the first axis: it is found at p − 3."""
    image = smooth_images(1, (40, 40))
    target = torch.roll(image, 3, dims=2)
    inside = torch.zeros(1, 1, 40, 40)
    inside[:, :, 5:-5, 5:-5] = 1
    candidate, truth = Observed(image, mask=inside), Observed(target, mask=inside)
    right = Registered(L1(masked=True), Shifting(-3.0, 0.0), smoothness=0, drift=0)(candidate, truth)
    wrong = Registered(L1(masked=True), Shifting(3.0, 0.0), smoothness=0, drift=0)(candidate, truth)
    assert right.item() == pytest.approx(0, abs=1e-5)
    assert wrong > L1(masked=True)(candidate, truth)


def test_displacement_shift_roughness_and_folding_are_reported_in_voxels():
    image = smooth_images(2)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 1
    term = Registered(L1(), Shifting(3.0, -4.0))
    total, values = LossTerms({"l1": term}).generator_loss(Observed(image), Observed(image, mask=mask))
    assert set(values) == {"l1", "l1_displacement", "l1_shift", "l1_roughness", "l1_folding"}
    assert values["l1_displacement"].item() == pytest.approx(5)
    assert values["l1_shift"].item() == pytest.approx(5)
    assert values["l1_roughness"] == values["l1_folding"] == 0
    assert total.item() == pytest.approx(values["l1"].item())


def test_what_a_shift_costs_is_the_square_of_its_share_of_the_image():
    flat = torch.zeros(1, 1, 20, 40)  # warping changes nothing
    term = Registered(L1(), Shifting(2.0, 4.0), smoothness=7.0, drift=10.0)
    assert term(Observed(flat), Observed(flat)).item() == pytest.approx(10 * (0.1**2 + 0.1**2), rel=1e-5)


def test_a_shift_that_differs_from_part_to_part_of_a_batch_is_priced_as_in_the_whole():
    image, target = smooth_images(4, seed=1), smooth_images(4, seed=2)
    torch.manual_seed(0)
    network = DeformationNet(2, 1, (4, 4, 4, 4))
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    term = Registered(L1(), network)
    whole = term(Observed(image), Observed(target))
    parts = [term(Observed(image[i : i + 1]), Observed(target[i : i + 1])) for i in range(4)]
    assert whole.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


def test_gradients_to_the_output_are_those_of_the_warp_with_the_field_as_it_is(pair, gradient_is_right):
    candidate, target = pair((1, 1, 8, 9))
    term = Registered(L1(), Shifting(0.3, -0.4).double())
    assert gradient_is_right(term, candidate, target)


def test_the_output_cannot_steer_the_registration():
    """Its input is a constant: gradients to the output come through the warp alone."""
    image = smooth_images(1).requires_grad_()

    class Steered(nn.Module):
        def forward(self, moving, fixed):
            assert not moving.requires_grad
            return torch.zeros(1, 2, 32, 32)

    Registered(L1(), Steered())(Observed(image), Observed(smooth_images(1, seed=1))).backward()
    assert image.grad.abs().max() > 0


def test_terms_that_share_a_registration_register_once():
    image, target, network = smooth_images(2), Observed(smooth_images(2, seed=1)), Shifting(1.0, 0.0)
    terms = LossTerms({"a": Registered(L1(), network), "b": Registered(L1(), network)})
    terms.generator_loss(Observed(image), target)
    assert network.calls == 1
    terms.generator_loss(Observed(image), target)
    assert network.calls == 2
    assert terms.networks == {"registration": network}


def test_two_registrations_of_one_name_are_refused():
    terms = LossTerms({"a": Registered(L1(), Shifting(0.0, 0.0)), "b": Registered(L1(), Shifting(0.0, 0.0))})
    with pytest.raises(ValueError, match="different networks of the name 'registration'"):
        _ = terms.networks


@pytest.mark.parametrize("order", [("l1", "adversarial"), ("adversarial", "l1")])
def test_a_discriminator_may_judge_the_registered_output_and_teaches_the_registration_nothing(order):
    source, image, real = (smooth_images(2, seed=seed) for seed in range(3))
    discriminator, network = PatchDiscriminator(2, 2, channels=4), Shifting(1.5, 0.0)
    made = {"l1": Registered(L1(), network), "adversarial": Registered(Adversarial(), network)}
    candidate = Observed(image.requires_grad_(), source, None, discriminator)
    target = Observed(real, source, None, discriminator, constant=True)
    values = {name: made[name](candidate, target) for name in order}
    moved = Observed(warped(image, network(image, real)), source, None, discriminator)
    assert values["adversarial"].item() == pytest.approx(Adversarial()(moved, target).item())
    values["adversarial"].backward(retain_graph=True)
    assert network.voxels.grad is None
    assert image.grad.abs().max() > 0
    values["l1"].backward()
    assert network.voxels.grad.abs().max() > 0
    assert made["adversarial"].measured(candidate, target) == {}


def test_the_discriminator_is_trained_on_the_registered_output_where_it_judges_that():
    source, image, real = (smooth_images(2, seed=seed) for seed in range(3))
    discriminator, network = PatchDiscriminator(2, 2, channels=4), Shifting(1.5, 0.0)
    term = Registered(Adversarial(), network, discriminator_weight=0.5)
    assert term.trains_discriminator
    assert term.uses_discriminator
    candidate, target = (Observed(x, source, None, discriminator) for x in (image, real))
    moved = Observed(warped(image, network(image, real)).detach(), source, None, discriminator)
    loss = term.discriminator_loss(candidate, target)
    assert loss.item() == pytest.approx(Adversarial().discriminator_loss(moved, target).item())
    loss.backward()
    assert network.voxels.grad is None


def test_negative_prices_are_refused():
    with pytest.raises(ValueError, match="prices, 0 or more"):
        Registered(L1(), Shifting(0.0, 0.0), drift=-1)


def test_weights_of_the_inner_term_count():
    image, target = smooth_images(2), Observed(smooth_images(2, seed=1))
    one, three = (Registered(L1(weight), Shifting(0.0, 0.0))(Observed(image), target) for weight in (1.0, 3.0))
    assert three.item() == pytest.approx(3 * one.item(), rel=1e-6)
    assert math.isclose(one.item(), (image - target.image).abs().mean().item(), rel_tol=1e-5)
