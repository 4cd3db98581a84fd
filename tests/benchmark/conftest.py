"""Bundles and runs without training: what a benchmark reads, written by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtrans.benchmark.conditions import Budget, Conditions
from medtrans.benchmark.run import Run
from medtrans.benchmark.study import Row, Study

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def heads(tmp_path_factory):
    """A data set of eight coarse heads: several are tested."""
    from medtrans.cohorts import Cases, write_phantom_cohort

    folder = tmp_path_factory.mktemp("heads") / "set"
    cohort = write_phantom_cohort(folder, 6, ["T1", "T2"], 12.0, 0, None, (0.34, 0.16, 0.5))
    assert len(cohort.of_split("test")) == 3
    return Cases.read(folder).root


@pytest.fixture
def bundle(tmp_path):
    """``bundle(name)``: a folder that looks like a bundle."""

    def make(name="toy", **config):
        folder = tmp_path / "bundles" / name
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        content = {"max_epochs": 5, "source": "T1", "target": "T2", "rate": 0.1, "train": {"handlers": []}}
        (folder / "configs" / "train.json").write_text(json.dumps(content | {"used": ["@rate"]} | config))
        (folder / "configs" / "inference.json").write_text("{}")
        (folder / "configs" / "quick.json").write_text('{"rate": 0.2}')
        return folder

    return make


@pytest.fixture
def conditions(tmp_path):
    return Conditions(tmp_path / "data", Budget(steps=4), metrics=("ssim", "mae"))


@pytest.fixture
def study_of(bundle):
    """``study_of("a", "b")``: a study of rows of one toy bundle."""

    def make(*names, baseline=None, **more):
        rows = tuple(Row(name, bundle(), settings={"rate": n / 10}, place=float(n)) for n, name in enumerate(names))
        return Study("study", "A study", rows, baseline or names[0], **more)

    return make


def _finished(run, values, source=None, items="aa bb"):
    """Leave what a finished run leaves: ``values`` is subject -> {metric: value}."""
    (run.folder / "evaluation").mkdir(parents=True)
    (run.folder / "training").mkdir()
    lines = []
    for image, found in (("synthetic", values), ("source", source or {})):
        for subject, metrics in found.items():
            line = {"case": f"{subject}-1", "subject": subject, "level": "volume", "region": "mask", "image": image}
            lines.append(line | {"slices": "", "unit": "HU", "lower": -1000, "upper": 2000} | metrics)
    pd.DataFrame(lines).to_csv(run.folder / "evaluation" / "metrics.csv", index=False)
    pd.DataFrame({"iteration": [1, 2], "items": [items, items]}).to_csv(run.steps, index=False)
    facts = {"status": "done", "parameters": {"generator": 3_000_000, "discriminator": 1_000_000}, "steps": 2}
    facts |= {"metrics": run._judged_by(), "generator_steps": 3, "seconds_a_step": 0.25, "training_seconds": 90.0}
    facts |= {"seconds_a_slice": 0.01, "memory_mib": 512.0, "cuda_mib": 0.0, "batch_size": 1, "images": 2}
    (run.folder / "result.json").write_text(json.dumps(facts | {"device": "CPU", "threads": 1}))
    return run


@pytest.fixture
def finished():
    return _finished


@pytest.fixture
def run_of(tmp_path, conditions):
    """``run_of(row, seed)``: a run in a folder of its own."""
    return lambda row, seed=0: Run(row, seed, tmp_path / "out" / "runs" / f"{row.name}-{seed}", conditions)


@pytest.fixture
def numbers():
    """Ten subjects with SSIM and MAE about ``offset``, the same subjects every time."""

    def make(offset, subjects=10):
        noise = np.random.default_rng(5).normal(0, 0.05, subjects)
        return {f"s{n:02d}": {"ssim": 0.7 + offset + e, "mae": 90 - 100 * (offset + e)} for n, e in enumerate(noise)}

    return make
