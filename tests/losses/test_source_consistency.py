"""Cycle and self-regularisation compare with the source, by any distance."""

import pytest
import torch
from torch import nn

from medtrans.losses import L1, SSIM, Content, Cycle, LossTerms, Observed, SelfRegularisation


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        return [image**2]


def there_and_back(pair, shape=(2, 1, 12, 14)):
    candidate, target = pair(shape)
    back = torch.tanh(candidate.image + 0.3)
    return Observed(candidate.image, candidate.source, derived={"cycled": lambda: back}), target


@pytest.mark.parametrize("shape", [(2, 1, 12, 14), (1, 1, 12, 11, 13)])
def test_the_cycle_is_closed_in_l1_by_default(shape, pair):
    candidate, target = there_and_back(pair, shape)
    expected = (candidate.derived("cycled").image - candidate.source).abs().mean().item()
    assert Cycle()(candidate, target).item() == pytest.approx(expected, rel=1e-12)
    same = Observed(candidate.image, candidate.source, derived={"cycled": candidate.source.clone})
    assert Cycle()(same, target).item() == 0


def test_any_distance_closes_the_cycle_with_its_own_weight(pair):
    candidate, target = there_and_back(pair)
    expected = SSIM()(candidate.derived("cycled"), Observed(candidate.source)).item()
    assert Cycle(distance=SSIM(0.5))(candidate, target).item() == pytest.approx(0.5 * expected, rel=1e-12)


def test_cycle_losses_of_features_share_the_passes(pair):
    features = Features()
    terms = LossTerms({name: Cycle(distance=Content(features, layers=(1,))) for name in ("one", "other")})
    terms.generator_loss(*there_and_back(pair))
    assert features.calls == 2  # the reconstruction and the source


def test_the_gradient_of_the_cycle_reaches_both_generators(pair):
    _, target = pair()
    there, back = (nn.Parameter(torch.tensor(0.3, dtype=torch.float64)) for _ in range(2))
    source = target.source

    def loss(a, b):
        return Cycle()(Observed(a * source, source, derived={"cycled": lambda: b * (a * source)}), target)

    assert torch.autograd.gradcheck(loss, (there, back))


def test_a_method_that_does_not_translate_back_is_told(pair):
    with pytest.raises(ValueError, match="needs the cycled image"):
        Cycle()(*pair())


@pytest.mark.parametrize("shape", [(2, 1, 12, 14), (1, 1, 12, 11, 13)])
def test_self_regularisation_is_l1_to_the_source(shape, pair):
    candidate, target = pair(shape)
    expected = (candidate.image - candidate.source).abs().mean().item()
    assert SelfRegularisation()(candidate, target).item() == pytest.approx(expected, rel=1e-12)
    unchanged = Observed(candidate.source.clone(), candidate.source)
    assert SelfRegularisation()(unchanged, target).item() == 0


def test_which_channels_of_the_source(pair):
    candidate, target = pair((2, 2, 6, 5), source_channels=3)
    expected = (candidate.image - candidate.source[:, [2, 0]]).abs().mean().item()
    assert SelfRegularisation(channels=(2, 0))(candidate, target).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"2 output channel\(s\) with 3 of the source"):
        SelfRegularisation()(candidate, target)
    with pytest.raises(ValueError, match=r"has 3 channel\(s\), not \[0, 3\]"):
        SelfRegularisation(channels=(0, 3))(candidate, target)


def test_inside_the_body_by_a_masked_distance(pair):
    candidate, target = pair()
    difference = (candidate.image - candidate.source).abs() * candidate.mask
    expected = (difference.flatten(1).sum(1) / candidate.mask.flatten(1).sum(1)).mean().item()
    term = SelfRegularisation(distance=L1(2.0, masked=True))
    assert term(candidate, target).item() == pytest.approx(2 * expected, rel=1e-12)


def test_the_source_is_looked_at_once_for_several_candidates(pair):
    features = Features()
    term = SelfRegularisation(distance=Content(features, layers=(1,)))
    candidate, target = pair()
    for _ in range(3):  # the generator updates of one batch
        term(Observed(candidate.image, candidate.source), target)
    assert features.calls == 3 + 1


def test_gradient(pair, gradient_is_right):
    assert gradient_is_right(SelfRegularisation(), *pair((2, 1, 4, 5)))


def test_a_method_without_a_source_is_told():
    image = Observed(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="needs the source"):
        SelfRegularisation()(image, image)


def test_the_distance_is_prepared_with_the_term():
    class Missing(L1):
        def prepare(self):
            raise RuntimeError("weights are missing")

    for term in (Cycle, SelfRegularisation):
        with pytest.raises(RuntimeError, match="weights are missing"):
            LossTerms({"term": term(distance=Missing())})
