"""Registration during training beats plain L1 on misaligned pairs, and costs nothing on aligned ones."""

import importlib.util
from pathlib import Path

import pytest

from medtrans.cohorts import write_phantom_cohort

SCRIPT = Path(__file__).parents[1] / "benchmarks/misaligned_pairs.py"
SIZE, STEPS = 32, 700


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("misaligned_pairs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    return write_phantom_cohort(tmp_path_factory.mktemp("heads"), 40, ("T1", "T2"), 7.0)


def compared(benchmark, heads, millimetres):
    """What plain and registered training reach on aligned test heads, and what the registered one logged."""
    data = benchmark.slices(heads, "train", millimetres, 0, SIZE)
    test, found = benchmark.slices(heads, "test", 0, 0, SIZE), {}
    for name in ("l1", "l1 registered"):
        method = benchmark.build(name, 0)
        logged = benchmark.train(method, data, STEPS, 0)
        found[name] = benchmark.judge(method, test)
        print(millimetres, name, found[name], logged)
    return found["l1"], found["l1 registered"], logged


@pytest.mark.slow
def test_registered_training_beats_plain_training_on_misaligned_pairs(benchmark, heads):
    plain, registered, logged = compared(benchmark, heads, 8.0)
    assert registered["PSNR"] > plain["PSNR"] + 0.1
    assert registered["SSIM"] > plain["SSIM"] + 0.01
    assert registered["MAE"] < plain["MAE"]
    assert logged["registered_displacement"] > 0.2  # voxels
    assert logged["registered_folding"] < 0.001


@pytest.mark.slow
def test_registered_training_costs_nothing_on_aligned_pairs(benchmark, heads):
    plain, registered, logged = compared(benchmark, heads, 0.0)
    assert registered["PSNR"] > plain["PSNR"] - 0.3
    assert registered["SSIM"] > plain["SSIM"] - 0.015
    assert logged["registered_displacement"] < 0.2
