"""Who is winning: accuracies and logits as NumPy counts them, and signs for constructed logits."""

import numpy as np
import pytest
import torch
from torch import nn

from medtrans.engines.watches.discriminators import Discriminators
from medtrans.losses import Adversarial, LossTerms, Observed


class Judge(nn.Module):
    """A discriminator whose logits are the image's own values, on two scales."""

    def forward(self, image):
        return [[image, image], [image, image[..., ::2]]]


def watch(form="log", **settings):
    judge, one = Judge(), Discriminators(**settings)
    losses = LossTerms({"adversarial": Adversarial(form=form, penalty=0.0)})
    method = type("Method", (), {"losses": losses, "networks": {"discriminator": judge}})()
    one.attach(type("Trainer", (), {"method": method})(), None)

    def step(synthetic, real):
        """One update of the discriminator with these logits."""
        losses.discriminator_loss(*(Observed(x, discriminator=judge, conditional=False) for x in (synthetic, real)))
        return {name: float(value) for name, value in one.values().items()}

    return one, step


@pytest.mark.parametrize(("form", "boundary"), [("log", 0.0), ("least_squares", 0.5), ("hinge", 0.0)])
def test_accuracies_and_logits_are_means_over_all_patches(form, boundary):
    _, step = watch(form)
    synthetic, real = torch.randn(3, 1, 4, 6), torch.randn(3, 1, 4, 6) + 0.3
    found = step(synthetic, real)
    logits = {
        name: np.concatenate([x.numpy().ravel(), x.numpy()[..., ::2].ravel()])
        for name, x in (("real", real), ("synthetic", synthetic))
    }
    assert found == pytest.approx(
        {
            "discriminator_accuracy_real": (logits["real"] > boundary).mean(),
            "discriminator_accuracy_synthetic": (logits["synthetic"] <= boundary).mean(),
            "discriminator_logit_real": logits["real"].mean(),
            "discriminator_logit_synthetic": logits["synthetic"].mean(),
        },
        abs=1e-6,
    )


def test_a_critic_has_no_accuracy():
    one, step = watch("wasserstein")
    assert set(step(torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4))) == {
        "discriminator_logit_real",
        "discriminator_logit_synthetic",
    }
    assert one.signs(1) == {}


def signs_of(real, synthetic, steps=3, after=0):
    """The signs after an epoch in which these shares of real and synthetic patches were judged rightly."""
    one, step = watch(after=after)
    for _ in range(steps):
        patches = torch.arange(200.0).view(1, 1, 20, 10) / 200
        step((patches < 1 - synthetic).float() - 0.5, (patches < real).float() - 0.5)
    return one.signs(1)


@pytest.mark.parametrize(
    ("real", "synthetic", "expected"),
    [
        (1.0, 1.0, ["discriminator_won"]),
        (0.5, 0.5, ["discriminator_lost"]),
        (1.0, 0.0, ["discriminator_lost"]),
        (0.0, 1.0, ["discriminator_lost"]),
        (0.7, 0.65, []),
        (0.95, 0.9, []),
        (1.0, 0.9, []),
    ],
)
def test_a_discriminator_that_is_always_right_has_won_and_one_that_cannot_tell_has_lost(real, synthetic, expected):
    assert list(signs_of(real, synthetic)) == expected


def test_the_first_steps_are_no_sign():
    assert signs_of(0.5, 0.5, steps=5, after=5) == {}
    assert signs_of(0.5, 0.5, steps=6, after=5) != {}


def test_parts_of_an_accumulated_batch_count_by_their_size():
    one, step = watch()
    step(torch.ones(3, 1, 2, 2), torch.ones(3, 1, 2, 2))
    judge_parts = [torch.ones(3, 1, 2, 2), -torch.ones(1, 1, 2, 2)]
    losses, judge = one_losses(one)
    for part in judge_parts:
        losses.discriminator_loss(*(Observed(x, discriminator=judge, conditional=False) for x in (part, part)))
    assert float(one.values()["discriminator_accuracy_real"]) == pytest.approx(0.75)


def one_losses(one):
    """Loss terms that ``one`` watches, and a discriminator of a name it knows."""
    judge = Judge()
    one.names[id(judge)] = "discriminator"
    losses = LossTerms({"adversarial": Adversarial(form="log")})
    losses.observers.append(one.look)
    return losses, judge


def test_an_unfinished_epoch_survives_a_resume():
    whole, step = watch()
    real, synthetic = torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)
    step(synthetic, real)
    resumed, go_on = watch()
    resumed.load_state_dict(whole.state_dict())
    for each in (step, go_on):
        each(-synthetic, real)
    assert whole.signs(1) == resumed.signs(1) == {}
    assert whole.state_dict() == resumed.state_dict() == {"sums": {}, "steps": 0, "all_steps": 2}
