"""Losses as CSV: every iteration once, also after a killed run goes on."""

import csv

import pytest
from ignite.engine import Engine

from medtrans.engines import CsvLog


def engine(start=0, metric=None):
    one = Engine(lambda e, _: [{"loss": 0.5 * e.state.iteration, "l1": 0.25}])
    one.state.rank, one.state.key_metric_name = 0, metric
    one.state.iteration = start
    return one


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run(path, iterations, every=1):
    one = engine()
    CsvLog(path, every).attach(one)
    one.run(range(iterations), max_epochs=1)


def test_a_row_an_iteration_with_losses_by_name(tmp_path):
    run(tmp_path / "eval/losses.csv", 3)
    assert rows(tmp_path / "eval/losses.csv")[1] == {"epoch": "1", "iteration": "2", "loss": "1", "l1": "0.25"}


def test_a_new_run_starts_a_new_file(tmp_path):
    run(tmp_path / "losses.csv", 5)
    run(tmp_path / "losses.csv", 2)
    assert len(rows(tmp_path / "losses.csv")) == 2


def test_every_nth_iteration(tmp_path):
    run(tmp_path / "losses.csv", 6, every=3)
    assert [row["iteration"] for row in rows(tmp_path / "losses.csv")] == ["3", "6"]


@pytest.mark.parametrize("tail", ["", "1,5,9.0", "1,5,9.0,1\n1,6"])
def test_rows_beyond_the_checkpoint_and_half_rows_are_dropped(tmp_path, tail):
    path = tmp_path / "losses.csv"
    path.write_text("epoch,iteration,loss,l1\n1,1,0.5,0.25\n1,2,1,0.25\n1,3,1.5,0.25\n" + tail)
    log = CsvLog(path)
    log._keep_rows("iteration", 2)
    assert [row["iteration"] for row in rows(path)] == ["1", "2"]


def test_validation_metrics_by_epoch(tmp_path):
    one = engine(metric="psnr")
    CsvLog(tmp_path / "validation.csv").attach(one)
    one.state.metrics = {"psnr": 21.25, "ssim": 0.7}
    one.run([0], max_epochs=1)
    assert rows(tmp_path / "validation.csv") == [{"epoch": "1", "psnr": "21.25", "ssim": "0.7"}]
