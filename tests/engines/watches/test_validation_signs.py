"""Mode collapse and anatomy drift, seen in what a validation measures."""

import pytest
from ignite.engine import Engine

from medtrans.engines.watches.collapse import Collapse
from medtrans.engines.watches.drift import Drift


def signs(watch, values, name):
    """The signs after each of several validations with these values."""
    evaluator = Engine(lambda _, batch: batch)
    watch.attach(None, evaluator)
    found = []
    for epoch, value in enumerate(values, 1):
        evaluator.state.metrics = {} if value is None else {name: value}
        found.append(list(watch.signs(epoch)))
    return found


def test_synthetic_images_that_are_all_alike_are_a_sign():
    assert signs(Collapse(), [0.9, 0.6, 0.2], "diversity") == [[], [], ["collapse"]]


def test_information_that_falls_is_a_sign_and_information_that_is_low_from_the_start_is_none():
    assert signs(Drift(), [0.3, 0.6, 0.45, 0.25], "source_information") == [[], [], [], ["drift"]]
    assert signs(Drift(), [0.1, 0.1, 0.12], "source_information") == [[], [], []]


@pytest.mark.parametrize(
    ("reference", "found", "seen"),
    [
        ({"pair_information": 0.7}, 0.05, True),
        ({"pair_information": 0.7}, 0.16, False),
        ({"unrelated_information": 0.08}, 0.1, True),
        ({"unrelated_information": 0.08}, 0.16, False),
    ],
)
def test_an_output_that_says_no_more_of_the_source_than_somebody_elses_image_is_a_sign(reference, found, seen):
    evaluator = Engine(lambda _, batch: batch)
    watch = Drift()
    watch.attach(None, evaluator)
    evaluator.state.metrics = {"source_information": found, **reference}
    assert bool(watch.signs(1)) == seen


@pytest.mark.parametrize("watch", [Collapse(), Drift()])
def test_a_validation_without_the_metric_or_with_nan_shows_nothing(watch):
    name = watch.metric
    assert signs(watch, [None, float("nan")], name) == [[], []]


def test_no_validation_shows_nothing():
    for watch in (Collapse(), Drift()):
        watch.attach(None, None)
        assert watch.signs(1) == {}


def test_the_highest_value_survives_a_resume():
    before, after = Drift(), Drift()
    signs(before, [0.6], "source_information")
    after.load_state_dict(before.state_dict())
    assert signs(after, [0.25], "source_information") == [["drift"]]
