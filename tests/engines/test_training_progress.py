"""Progress of training: lines in a log, a bar on a terminal."""

import logging

import pytest
from ignite.engine import Engine

from medtrans.engines import TrainingProgress, training_progress


def run(every=0.0):
    engine = Engine(lambda e, _: [{"loss": 12.345, "perceptual": 0.5}])
    engine.state.rank = 0
    TrainingProgress(every).attach(engine)
    engine.run(range(3), max_epochs=2)


def test_lines_in_a_log_name_epoch_step_rate_time_left_and_losses(monkeypatch, caplog):
    monkeypatch.setattr(training_progress, "on_terminal", lambda: False)
    with caplog.at_level(logging.INFO, "medtrans"):
        run()
    assert len(caplog.messages) == 6
    assert caplog.messages[3].startswith("epoch 2/2 step 1/3, ")
    assert "left: loss 12.3 perceptual 0.5" in caplog.messages[3]


def test_lines_keep_their_distance_but_the_last_step_is_told(monkeypatch, caplog):
    monkeypatch.setattr(training_progress, "on_terminal", lambda: False)
    with caplog.at_level(logging.INFO, "medtrans"):
        run(every=1000.0)
    assert [message.split(",")[0] for message in caplog.messages][-1] == "epoch 2/2 step 3/3"
    assert len(caplog.messages) <= 2


def test_a_bar_on_a_terminal(monkeypatch, capsys, caplog):
    monkeypatch.setattr(training_progress, "on_terminal", lambda: True)
    with caplog.at_level(logging.INFO, "medtrans"):
        run()
    drawn = capsys.readouterr().err
    assert "epoch 2/2" in drawn
    assert "3/3" in drawn
    assert not caplog.messages


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (0, 10, 5.0, "starting"),
        (10, 30, 5.0, "2.0/s, 00:10 left"),
        (2, 4, 10.0, "5.0 s each, 00:10 left"),
    ],
)
def test_time_left(done, total, seconds, text):
    from medtrans.progress import time_left

    assert time_left(done, total, seconds) == text
